"""A process and its descendants, and their memory, from /proc."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass(frozen=True)
class TreeMemory:
    """Sums of PSS over a process tree: all, without a file, and of files (the page cache's part).

    What is missing in both is shared memory. None is what the kernel does not tell.
    """

    pss_bytes: int
    anonymous_bytes: Optional[int]
    file_bytes: Optional[int]


def members(pid: int) -> list[int]:
    """Return the numbers of a process and its descendants, as far as they are alive."""
    found, pending = [], [pid]
    while pending:
        parent = pending.pop()
        found.append(parent)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = read(f"{task}/children")
                if children is None:
                    if task.exists():
                        return _members_by_parents(pid)
                    continue
                pending.extend(map(int, children.split()))
    return found


def memory_of(pids: list[int]) -> Optional[TreeMemory]:
    """Return the memory of some processes now; None where /proc tells of none of them."""
    parts = [part for pid in pids if (part := _memory_of_one(pid)) is not None]
    if not parts:
        return None
    return TreeMemory(
        sum(part.pss_bytes for part in parts),
        _sum([part.anonymous_bytes for part in parts]),
        _sum([part.file_bytes for part in parts]),
    )


def resident_pages(pids: list[int]) -> Optional[int]:
    """Return the sum of the resident sizes, in pages: shared ones count several times."""
    pages = [int(content.split()[1]) for pid in pids if (content := read(f"/proc/{pid}/statm"))]
    return sum(pages) if pages else None


def _memory_of_one(pid: int) -> Optional[TreeMemory]:
    rollup = read(f"/proc/{pid}/smaps_rollup")
    if rollup:
        fields = dict(_fields(rollup))
        if "Pss_Anon" in fields:  # Linux 5.4
            return TreeMemory(fields["Pss"], fields["Pss_Anon"], fields["Pss_File"])
        if "Pss" in fields:
            return TreeMemory(fields["Pss"], None, None)
    return parse_smaps(read(f"/proc/{pid}/smaps") or "")


def parse_smaps(maps: str) -> Optional[TreeMemory]:
    """Sum up /proc/PID/smaps: kernels before 4.14 have no rollup (JetPack 4, Android 9).

    Of each mapping of a file, the pages that were written to (``Anonymous``) are no longer the
    file's. Those may be shared after a fork, so that no more than the mapping's PSS counts.
    """
    pss = anonymous = file = 0
    of_file = of_shared = False
    mapping_pss = 0
    seen = False
    for line in maps.splitlines():
        words = line.split()
        if len(words) >= 5 and not words[0].endswith(":"):
            path = words[5] if len(words) > 5 else ""
            of_shared = path.startswith(("/dev/", "/memfd:", "/SYSV"))
            of_file = path.startswith("/") and words[4] != "0" and not of_shared
        elif words[:1] == ["Pss:"]:
            seen = True
            mapping_pss = int(words[1]) << 10
            pss += mapping_pss
            if of_file:
                file += mapping_pss
            elif not of_shared:
                anonymous += mapping_pss
        elif words[:1] == ["Anonymous:"] and of_file:
            written = min(int(words[1]) << 10, mapping_pss)
            anonymous += written
            file -= written
    return TreeMemory(pss, anonymous, file) if seen else None


def _fields(content: str) -> Iterator[tuple[str, int]]:
    """Yield names and bytes of the ``Name:  12 kB`` lines."""
    for line in content.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            yield name, int(words[0]) << 10


def _members_by_parents(pid: int) -> list[int]:
    """Return what `members` does, from each process's parent, where there is no children file."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (content := read(f"{entry}/stat")):
            parent = int(content.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, pending = [], [pid]
    while pending:
        member = pending.pop()
        found.append(member)
        pending.extend(children.get(member, ()))
    return found


def _sum(values: list[Optional[int]]) -> Optional[int]:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def read(path: str) -> Optional[str]:
    """Return a /proc file's text; None where it is missing, not ours, or its process has ended."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None
