"""Looks for Python, the toolkits of each target, and the programs that reach devices."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Mapping

from edgegen import __version__
from edgegen.core.target import TargetSpec
from edgegen.doctor.checks import Check
from edgegen.doctor.requirements import (
    install_command,
    installed_version,
    is_met,
    requirements,
    wanted,
)

PYTHON_MINIMUM = (3, 11)

NPU_EXTRA, NPU_PACKAGE = "npu", "onnxruntime-qnn"

PROGRAMS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "ssh": ("reaches boards", {"apt": "openssh-client", "dnf": "openssh-clients"}),
    "adb": (
        "reaches Android devices",
        {"apt": "adb", "dnf": "android-tools", "brew": "--cask android-platform-tools"},
    ),
}
"""Each program, what it is for, and its package by package manager."""


def check_python() -> Iterator[Check]:
    """Look for edgegen's own needs: without them nothing works."""
    least = ".".join(map(str, PYTHON_MINIMUM))
    yield Check(group="edgegen", name="edgegen", status="ok", found=__version__)
    fits = sys.version_info >= PYTHON_MINIMUM
    yield Check(
        group="edgegen",
        name="Python",
        status="ok" if fits else "missing",
        found=f"{platform.python_version()}, {sys.executable}",
        remedy="" if fits else f"Install Python {least} or newer.",
        essential=True,
    )
    yield from _check_requirements("edgegen", None, essential=True)


def check_targets(targets: Mapping[str, TargetSpec]) -> Iterator[Check]:
    """Look for what exporting to each target needs."""
    for target in targets.values():
        yield from _check_requirements(f"target {target.name}", target.extra, essential=False)


def check_npu() -> Iterator[Check]:
    """Look for what compiles ONNX packages for phones' NPUs; only `package --npu` needs it."""
    (requirement,) = (it for it in requirements(NPU_EXTRA) if it.name == NPU_PACKAGE)
    version = installed_version(NPU_PACKAGE)
    fits = is_met(requirement, version)
    yield Check(
        group="target onnx",
        name=NPU_PACKAGE,
        status="ok" if fits else "note",
        found=f"{version}, compiles for NPUs and emulates them"
        if fits
        else f"{version or 'not installed'}; {wanted(requirement)}, only for package --npu",
        remedy="" if fits else install_command(NPU_EXTRA),
    )


def check_programs() -> Iterator[Check]:
    """Look for the programs that reach devices."""
    for name, (purpose, packages) in PROGRAMS.items():
        path = shutil.which(name)
        yield Check(
            group="devices",
            name=name,
            status="missing" if path is None else "ok",
            found=f"not there; it {purpose}" if path is None else path,
            remedy="" if path else _program_remedy(packages),
        )


def missing_for(extra: str) -> tuple[str, ...]:
    """Return the distributions that an extra needs and that are missing or too old."""
    return tuple(
        requirement.name
        for requirement in requirements(extra)
        if not is_met(requirement, installed_version(requirement.name))
    )


def _check_requirements(group: str, extra: str | None, *, essential: bool) -> Iterator[Check]:
    for requirement in requirements(extra):
        version = installed_version(requirement.name)
        fits = is_met(requirement, version)
        said = f"{version or 'not installed'}; {wanted(requirement)}"
        found = version if version and fits else said
        yield Check(
            group=group,
            name=requirement.name,
            status="ok" if fits else "missing",
            found=found,
            remedy="" if fits else install_command(extra),
            essential=essential,
        )


def _program_remedy(packages: Mapping[str, str]) -> str:
    for manager, command in (
        ("apt", "sudo apt install"),
        ("dnf", "sudo dnf install"),
        ("brew", "brew install"),
    ):
        if manager in packages and shutil.which(manager):
            return f"{command} {packages[manager]}"
    return f"Install the package '{next(iter(packages.values()))}' of your system."
