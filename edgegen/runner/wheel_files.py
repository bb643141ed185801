"""Wheels of a folder, by their names: which of them fit a device, and why the others do not.

Source: the binary distribution format (PEP 427), compatibility tags (PEP 425), and the tags of
Linux systems (PEP 513, 571, 599, 600 for glibc; PEP 656 for musl).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen_runner.runtimes import DEFAULT

from edgegen.core.errors import ConfigError
from edgegen.devices.facts import DeviceFacts

_NAME = re.compile(
    r"(?P<project>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9._+!]+)(?:-\d[A-Za-z0-9._]*)?"
    r"-(?P<python>[A-Za-z0-9._]+)-(?P<abi>[A-Za-z0-9._]+)-(?P<platform>[A-Za-z0-9._]+)\.whl"
)
_OLD_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX = re.compile(r"(manylinux1|manylinux2010|manylinux2014|manylinux_(\d+)_(\d+))_(\w+)")
_MUSLLINUX = re.compile(r"musllinux_\d+_\d+_(\w+)")
_PYTHON = re.compile(r"(py|cp)(\d)(\d*)")
_FETCH = (
    "Fetch them where there is a network: pip download --only-binary :all: --platform "
    "manylinux_2_28_{machine} --python-version {python} numpy {runtime}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """What the name of a wheel's file says; the tags are alternatives."""

    project: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]


def parse_name(file_name: str) -> WheelName:
    """Read the name of a wheel's file.

    Raises ConfigError for a name that no wheel has.
    """
    match = _NAME.fullmatch(file_name)
    if match is None:
        raise ConfigError(
            f"{file_name!r} is not the name of a wheel.",
            hint="It is NAME-VERSION-PYTHON-ABI-PLATFORM.whl: take the file as pip fetched it.",
        )
    return WheelName(
        project=re.sub(r"[-_.]+", "-", match["project"]).lower(),
        version=match["version"],
        pythons=tuple(match["python"].split(".")),
        abis=tuple(match["abi"].split(".")),
        platforms=tuple(match["platform"].split(".")),
    )


def installs(files: Sequence[Path]) -> Mapping[str, str]:
    """Return the projects that wheels bring, and their versions."""
    names = [parse_name(path.name) for path in files]
    return {name.project: name.version for name in names}


def fitting_wheels(folder: Path, facts: DeviceFacts) -> list[Path]:
    """Return the wheels of a folder that fit a device, one of each project.

    Raises ConfigError where a project has none that fits or several, with the reason, and where
    numpy or a runtime is missing.
    """
    found = [(parse_name(path.name), path) for path in sorted(folder.glob("*.whl"))]
    python = facts.python.rpartition(".")[0]
    fetch = _FETCH.format(machine=facts.machine, python=python, runtime=DEFAULT.package)
    projects = dict.fromkeys(name.project for name, _ in found)
    if "numpy" not in projects or len(projects) < 2:
        raise ConfigError(f"{folder} has no wheels of numpy and a runtime.", hint=fetch)
    chosen = []
    for project in projects:
        candidates = [(name, path) for name, path in found if name.project == project]
        fitting = [path for name, path in candidates if why_unfit(name, facts) is None]
        if not fitting:
            name, path = candidates[0]
            raise ConfigError(f"{path.name} {why_unfit(name, facts)}.", hint=fetch)
        if len(fitting) > 1:
            names = ", ".join(path.name for path in fitting)
            raise ConfigError(
                f"{folder} has several wheels of {project} that fit: {names}.",
                hint="Leave one of them there.",
            )
        chosen += fitting
    return chosen


def why_unfit(name: WheelName, facts: DeviceFacts) -> str | None:
    """Return why a wheel does not fit a device, as the end of a sentence; None where it does."""
    if not any(
        _fits_python(python, abi, facts.python_version)
        for python in name.pythons
        for abi in name.abis
    ):
        tags = f"{'.'.join(name.pythons)}-{'.'.join(name.abis)}"
        return f"is for another Python ({tags}); the device has {facts.python}"
    reasons = [_why_not_platform(platform, facts) for platform in name.platforms]
    return None if None in reasons else reasons[-1]


def _fits_python(tag: str, abi: str, python: tuple[int, int]) -> bool:
    match = _PYTHON.fullmatch(tag)
    if match is None or int(match[2]) != python[0]:
        return False
    minor = int(match[3]) if match[3] else 0
    if abi == "none" and match[1] == "py":
        return minor <= python[1]
    if abi == "abi3":
        return minor <= python[1]
    return minor == python[1] and abi in ("none", f"cp{python[0]}{python[1]}")


def _why_not_platform(tag: str, facts: DeviceFacts) -> str | None:
    """Return why a platform tag does not fit; None where it does."""
    if tag == "any":
        return None
    if facts.system == "Darwin":
        fits = tag.startswith("macosx_") and tag.endswith((f"_{facts.machine}", "_universal2"))
        return None if fits else f"is for {tag}; the device is a Mac with {facts.machine}"
    if not tag.startswith(("linux_", "manylinux", "musllinux")):
        return f"is for {tag}; the device runs {facts.system}"
    manylinux, musllinux = _MANYLINUX.fullmatch(tag), _MUSLLINUX.fullmatch(tag)
    machine = (
        manylinux[4] if manylinux else musllinux[1] if musllinux else tag.removeprefix("linux_")
    )
    if machine != facts.machine:
        return f"is for {machine}; the device has {facts.machine}"
    if musllinux:
        return None if facts.glibc is None else "is for musl; the device's C library is glibc"
    if manylinux is None:
        return None
    if facts.glibc is None:
        return "is for glibc; the device's C library is another"
    needed = _OLD_MANYLINUX.get(manylinux[1]) or (int(manylinux[2]), int(manylinux[3]))
    if facts.glibc < needed:
        has = ".".join(map(str, facts.glibc))
        return f"needs glibc {needed[0]}.{needed[1]} or newer; the device has {has}"
    return None
