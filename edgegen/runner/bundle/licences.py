"""Collects the licence texts of all parts: who passes a bundle on, passes them on with it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from edgegen.core.errors import IntegrityError
from edgegen.runner.bundle.facts import Debian, PackageFacts

_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])")
_WHEEL_WORDS = ("licen", "copying", "notice", "copyright")


def copy_package_licences(
    packages: tuple[PackageFacts, ...], unpacked: Path, debian: Debian, folder: Path
) -> None:
    """Copy each package's copyright file, and the licences that it refers to, to `folder`.

    Raises IntegrityError for a package without one.
    """
    named: set[str] = set()
    for package in packages:
        source = unpacked / "usr/share/doc" / package.name / "copyright"
        if not source.is_file():
            raise _without_licence(package.name)
        text = source.read_text(encoding="utf-8", errors="replace")
        named.update(_COMMON.findall(text))
        _copy(source, folder / package.name / "copyright")
    for name in sorted(named):
        source = unpacked / debian.licence_texts / name
        if source.is_file():  # some texts write the name with a full stop or a plus behind it
            _copy(source, folder / "common-licenses" / name)


def copy_wheel_licences(name: str, unpacked: Path, folder: Path) -> None:
    """Copy a wheel's licences and notices to `folder`.

    Raises IntegrityError for a wheel without one.
    """
    found = [
        path
        for path in sorted(unpacked.rglob("*"))
        if path.is_file()
        and path.suffix not in (".py", ".pyc", ".so")
        and any(word in path.name.lower() for word in _WHEEL_WORDS)
    ]
    if not found:
        raise _without_licence(name)
    for path in found:
        _copy(path, folder / name / path.relative_to(unpacked))


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)


def _without_licence(name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} comes without a licence text, and may not be passed on like that.",
        hint="Look where the package has its licence, and adapt edgegen/runner/bundle/licences.py.",
    )
