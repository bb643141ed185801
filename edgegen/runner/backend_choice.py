"""Which runtime, provider and threads a package is run with, where the user did not say.

The package's target says which runtimes can; the device's profile, or what is installed, says which
of them does.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgegen_runner.contexts import CONTEXTS
from edgegen_runner.runtimes import called, of_target

from edgegen.core.errors import ConfigError, MissingDependencyError, nearest
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Arithmetic
from edgegen.runner.job import Backend, MemoryMode
from edgegen.runner.runtimes import RUNTIMES

if TYPE_CHECKING:
    from edgegen.devices.device import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for; None or () means: use the device's profile.

    `profile` takes the place of the one that fits the device. `chip` is the one whose contexts are
    loaded, of a package that was compiled for several; None is the device's own.
    """

    profile: DeviceProfile | None = None
    runtime: str | None = None
    providers: tuple[str, ...] = ()
    threads: int | None = None
    memory: MemoryMode | None = None
    arithmetic: Arithmetic | None = None
    chip: str | None = None


def choose_backend(device: Device, target: str, wishes: Wishes) -> Backend:
    """Return what runs a target's packages on a device.

    This machine has no profile of its own: there the runtime's choice stands. A provider that a
    profile names and that is not there is an error of the runner's, never a silent fallback. Raises
    ConfigError where no runtime runs the target, or not the one that was asked for, and
    MissingDependencyError where the device does not have it, with what brings it.
    """
    if device.is_local:
        return backend_here(target, wishes)
    from edgegen.devices.match import matching_profile

    facts = device.facts
    packages = () if facts.runtime is None else facts.runtime.packages
    installed = {runtime.name for name in packages if (runtime := called(name, RUNTIMES))}
    profile = wishes.profile or matching_profile(facts)
    backend = backend_of(profile, target, wishes, installed)
    if backend.name in installed or (facts.runtime is not None and not installed):
        return backend
    has = ", ".join(sorted(installed)) or "no Python with numpy and a runtime"
    raise MissingDependencyError(
        f"{device.address} has {has}, not {backend.name}, which is to run this {target} package.",
        hint=_how_to_get(backend.name, device.address),
    )


def backend_here(target: str, wishes: Wishes) -> Backend:
    """Return what runs a target's packages on this machine, in edgegen's own Python."""
    usable = [each for each in of_target(target, RUNTIMES) if each.can_be_here]
    installed = [each.name for each in usable if each.is_here]
    if not installed:  # then the first that could be is the one to ask for
        installed = [each.name for each in usable[:1]]
    return backend_of(wishes.profile, target, wishes, installed)


def backend_of(
    profile: DeviceProfile | None, target: str, wishes: Wishes, installed: Collection[str] = ()
) -> Backend:
    """Return the wishes, completed by what a profile says of a target's runtime.

    `installed` are the backends that are there; where neither the user nor the profile says, the
    first of them that fits is taken, and the target's first choice where none does. Raises
    ConfigError for a target that nothing runs, and a runtime that does not run the target.
    """
    options = None if profile is None else profile.runtime(target)
    if target == CONTEXTS:
        _require_chip(wishes.profile)
    elif wishes.profile is not None and options is None:
        known = ", ".join(each.target for each in wishes.profile.runtimes)
        raise ConfigError(
            f"The profile {wishes.profile.name} names no runtime for packages of the target "
            f"{target!r}.",
            hint=f"It has {known or 'none'}. Leave out --profile, or give another one.",
        )
    providers, threads, arithmetic = wishes.providers, wishes.threads, wishes.arithmetic
    package = wishes.runtime
    if options is not None:
        package = package or options.package
        providers = providers or options.providers
        threads = threads or options.threads
        arithmetic = arithmetic or options.arithmetic
    return Backend(
        name=_runtime(target, package, installed),
        providers=providers or None,
        threads=threads,
        memory=wishes.memory,
        arithmetic=arithmetic,
        chip=wishes.chip,
    )


def memory_limit_bytes(device: Device, target: str, wishes: Wishes) -> int | None:
    """Return what drawing may take of a device's memory by its profile; None where that is all."""
    profile = wishes.profile
    if profile is None and not device.is_local:
        from edgegen.devices.match import matching_profile

        profile = matching_profile(device.facts)
    return profile_limit_bytes(profile, target)


def profile_limit_bytes(profile: DeviceProfile | None, target: str) -> int | None:
    """Return what a profile allows a target's runtime to take of memory; None where it is silent.

    Contexts for an NPU have no runtime in a profile, and so no limit.
    """
    options = None if profile is None else profile.runtime(target)
    return None if options is None else options.memory_limit_bytes


def _require_chip(profile: DeviceProfile | None) -> None:
    if profile is not None and profile.hardware.chip is None:
        raise ConfigError(
            f"The profile {profile.name} names no chip with an NPU, and the package was compiled "
            "for one.",
            hint="Leave out --profile, give another one, or package for the processor.",
        )


def _how_to_get(name: str, address: str) -> str:
    """Return the command that gives a device a runtime, beside those that it has."""
    runtime = called(name, RUNTIMES)
    assert runtime is not None
    if runtime.pinned:
        return f"edgegen devices setup {shlex.quote(address)} --runtime {runtime.package}"
    first = of_target(runtime.target, RUNTIMES)[0].name
    return runtime.remedy or f"Install it there, or leave --runtime to {first}."


def _runtime(target: str, wanted: str | None, installed: Collection[str]) -> str:
    known = of_target(target, RUNTIMES)
    if not known:
        raise ConfigError(
            f"No runtime is known for packages of the target {target!r}.",
            hint=nearest(target, sorted({runtime.target for runtime in RUNTIMES})),
        )
    if wanted is None:
        return next((each.name for each in known if each.name in installed), known[0].name)
    runtime = called(wanted, known)
    if runtime is None:
        raise ConfigError(
            f"{wanted} does not run packages of the target {target!r}.",
            hint=f"What does: {', '.join(each.name for each in known)}.",
        )
    return runtime.name
