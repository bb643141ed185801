"""Checks a bundle's folder before it is packed: one that cannot start is never written."""

from __future__ import annotations

import os
from pathlib import Path

from edgegen.core.errors import IntegrityError
from edgegen.runner.bundle.elf import MACHINES, Elf, NotElfError, is_elf, read_elf
from edgegen.runner.bundle.facts import BundleFacts

_MOST_SHOWN = 5


def check_programs(root: Path, facts: BundleFacts) -> int:
    """Check every ELF file below `root`, and return how many there are.

    Each must be for the bundle's machine, its LOAD segments aligned for the largest page, and each
    library that it asks for must be in the bundle. Raises IntegrityError that names what is wrong.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and is_elf(path)]
    wrong: list[str] = []
    for path in files:
        name = path.relative_to(root).as_posix()
        try:
            wrong += [f"{name} {fault}" for fault in _faults(path, read_elf(path), root, facts)]
        except NotElfError as error:
            wrong.append(str(error))
    needed = (root / "lib" / facts.loader, root / "bin" / Path(facts.program).name)
    wrong += [f"{path.relative_to(root)} is missing" for path in needed if path not in files]
    if wrong:
        rest = f", and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        raise IntegrityError(
            f"The bundle would not start: {'; '.join(wrong[:_MOST_SHOWN])}{rest}.",
            hint="Debian's packages or a wheel have changed: adapt "
            "device_runners/bundles/arm64.toml.",
        )
    return len(files)


def _faults(path: Path, elf: Elf, root: Path, facts: BundleFacts) -> list[str]:
    faults = []
    if elf.machine != MACHINES[facts.machine]:
        faults.append(f"is for another machine (number {elf.machine})")
    if elf.alignment_bytes is not None and elf.alignment_bytes % facts.page_bytes:
        faults.append(
            f"is aligned to {elf.alignment_bytes} bytes, and pages may have {facts.page_bytes}"
        )
    folders = [root / "lib", *(_expand(each, path.parent) for each in elf.search)]
    faults += [
        f"needs {library}, which is not there"
        for library in elf.needed
        if not any(_has(folder, library, root) for folder in folders)
    ]
    return faults


def _expand(search: str, origin: Path) -> Path:
    expanded = search.replace("$ORIGIN", str(origin)).replace("${ORIGIN}", str(origin))
    return Path(os.path.normpath(expanded))


def _has(folder: Path, library: str, root: Path) -> bool:
    return folder.is_relative_to(root) and (folder / library).is_file()
