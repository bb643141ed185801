"""The runtimes that a package may be run with: those of the runner, and those of this machine."""

from __future__ import annotations

import platform

from edgegen_runner import runtimes

from edgegen.mil.runtime import REFERENCE

ON_THIS_MACHINE = (REFERENCE,)
"""What runs packages in edgegen's own Python and on no device: its times mean nothing."""

RUNTIMES = (*runtimes.RUNTIMES, *ON_THIS_MACHINE)


def is_for_devices(name: str) -> bool:
    """Return whether a runtime is one that devices have, so that it can be measured."""
    return all(runtime.name != name for runtime in ON_THIS_MACHINE)


def is_emulated(name: str, machine: str) -> bool:
    """Return whether a runtime only emulates a device's chip on a machine, as Python calls it."""
    return any(machine in each.emulated_on for each in RUNTIMES if each.name == name)


def emulated_here(target: str) -> bool:
    """Return whether this machine only emulates what runs a target's packages."""
    return all(
        is_emulated(each.name, platform.machine()) for each in RUNTIMES if each.target == target
    )


def pinned_packages() -> tuple[str, ...]:
    """Return the runtimes that `edgegen devices setup` has wheels of, as PyPI calls them."""
    return tuple(runtime.package for runtime in runtimes.RUNTIMES if runtime.pinned)


def listed_choices() -> str:
    """Return the runtimes of the targets that have several on devices, for a command's help."""
    targets = [runtime.target for runtime in runtimes.RUNTIMES]
    names = [each.name for each in runtimes.RUNTIMES if targets.count(each.target) > 1]
    return f"{', '.join(names[:-1])} or {names[-1]}"
