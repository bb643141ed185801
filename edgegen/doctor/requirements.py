"""What each extra of edgegen needs, and whether it is installed; nothing is imported for it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

import edgegen


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


def is_met(requirement: Requirement, version: str | None) -> bool:
    """Return whether an installed version, None for none, is one that is needed.

    Builds count as their release: `2.13.0+cpu` and `2.13.0rc1` are 2.13.0. One that PEP 440 doesn't
    know is somebody's own, and is taken.
    """
    if version is None:
        return False
    try:
        release = Version(version).base_version
    except InvalidVersion:
        return True
    return requirement.specifier.contains(release)


def wanted(requirement: Requirement) -> str:
    """Return the versions that are needed, in words."""
    bounds = list(requirement.specifier)
    if len(bounds) == 1 and bounds[0].operator == ">=":
        return f"needs {bounds[0].version} or newer"
    return f"needs {requirement.specifier}" if bounds else "any version"


def install_command(extra: str | None) -> str:
    """Return the command that installs edgegen with an extra into this Python."""
    root = _checkout()
    brackets = "" if extra is None else f"[{extra}]"
    what = f"edgegen{brackets}" if root is None else f"-e {root}{brackets}"
    flag, _, place = what.rpartition(" ")
    quoted = f'{flag} "{place}"' if flag else f'"{place}"'
    return f"{sys.executable} -m pip install {quoted}"


def _expand(extra: str | None, seen: frozenset[str]) -> Iterator[Requirement]:
    for requirement in _declared(extra):
        if requirement.name != "edgegen":
            yield requirement
            continue
        for name in sorted(requirement.extras - seen):
            yield from _expand(name, seen | {name})


def _declared(extra: str | None) -> Iterator[Requirement]:
    root = _checkout()
    if root is None:
        yield from _of_wheel(extra)
        return
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    for text in texts:
        requirement = Requirement(text)
        if _holds(requirement, extra=""):
            yield _without_marker(requirement)


def _of_wheel(extra: str | None) -> Iterator[Requirement]:
    """Yield the requirements of a wheel's metadata that hold with one extra, and not without."""
    for text in metadata.requires("edgegen") or []:
        requirement = Requirement(text)
        always = _holds(requirement, extra="")
        if always == (extra is None) and _holds(requirement, extra=extra or ""):
            yield _without_marker(requirement)


def _holds(requirement: Requirement, *, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _without_marker(requirement: Requirement) -> Requirement:
    requirement.marker = None
    return requirement


def _checkout() -> Path | None:
    """Return the folder of the checkout that edgegen is imported from, or None in a wheel."""
    assert edgegen.__file__ is not None
    root = Path(edgegen.__file__).parents[1]
    return root if (root / "pyproject.toml").is_file() and (root / "targets").is_dir() else None
