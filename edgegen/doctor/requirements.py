"""What each extra of edgegen needs, and whether it is installed; nothing is imported for it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import edgegen

_REQUIREMENT = re.compile(
    r"""(?P<name>[A-Za-z0-9._-]+)\s*(\[(?P<extras>[^\]]*)\])?\s*\(?(>=\s*(?P<minimum>[0-9.]+))?"""
)
_EXTRA = re.compile(r"""extra\s*==\s*["'](?P<extra>[^"']+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A distribution that is needed, and its lowest version; None where any does."""

    name: str
    minimum: str | None


def requirements(extra: str | None) -> tuple[Requirement, ...]:
    """Return what edgegen itself needs (None), or what one of its extras adds."""
    found = dict.fromkeys(_expand(extra, frozenset()))
    return tuple(sorted(found, key=lambda requirement: requirement.name))


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def is_new_enough(version: str, minimum: str | None) -> bool:
    """Compare the numbers of two versions: `2.13.0+cpu` is at least `2.9`."""
    return minimum is None or _numbers(version) >= _numbers(minimum)


def install_command(extra: str | None) -> str:
    """Return the command that installs edgegen with an extra into this Python."""
    root = _checkout()
    brackets = "" if extra is None else f"[{extra}]"
    what = f"edgegen{brackets}" if root is None else f"-e {root}{brackets}"
    flag, _, place = what.rpartition(" ")
    quoted = f'{flag} "{place}"' if flag else f'"{place}"'
    return f"{sys.executable} -m pip install {quoted}"


def _expand(extra: str | None, seen: frozenset[str]) -> Iterator[Requirement]:
    for text in _declared(extra):
        match = _REQUIREMENT.match(text)
        assert match is not None, text
        if match["name"] != "edgegen":
            yield Requirement(name=match["name"], minimum=match["minimum"])
            continue
        for other in (match["extras"] or "").split(","):
            name = other.strip()
            if name and name not in seen:
                yield from _expand(name, seen | {name})


def _declared(extra: str | None) -> list[str]:
    root = _checkout()
    if root is not None:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        declared = (
            project["dependencies"] if extra is None else project["optional-dependencies"][extra]
        )
        return [str(text) for text in declared]
    found = []
    for text in metadata.requires("edgegen") or []:
        requirement, _, marker = text.partition(";")
        match = _EXTRA.search(marker)
        if (match["extra"] if match else None) == extra:
            found.append(requirement)
    return found


def _checkout() -> Path | None:
    """Return the folder of the checkout that edgegen is imported from, or None in a wheel."""
    assert edgegen.__file__ is not None
    root = Path(edgegen.__file__).parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "targets").is_dir() else None


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"[0-9.]*", version.partition("+")[0])
    assert release is not None
    numbers = [int(part) for part in release[0].split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
