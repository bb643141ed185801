"""Which provider and how many threads a device uses, where the user did not say: its profile's."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.profile import DeviceProfile
from edgegen.devices.device import Device
from edgegen.devices.match import matching_profile
from edgegen.runner.job import Backend, MemoryMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for; None and an empty tuple are: what the device's profile says."""

    providers: tuple[str, ...] = ()
    threads: int | None = None
    memory: MemoryMode | None = None


def choose_backend(device: Device, target: str, wishes: Wishes) -> Backend:
    """Return what runs a target's packages on a device.

    This machine has no profile: there the runtime's own choice stands. A provider that a profile
    names and that is not there is an error of the runner's, never a silent fallback.
    """
    profile = None if device.is_local else matching_profile(device.facts)
    return backend_of(profile, target, wishes)


def backend_of(profile: DeviceProfile | None, target: str, wishes: Wishes) -> Backend:
    """Return the wishes, completed by what a profile says of a target's runtime."""
    options = None if profile is None else profile.runtime(target)
    providers, threads = wishes.providers, wishes.threads
    if options is not None:
        providers = providers or options.providers
        threads = threads or options.threads
    return Backend(providers=providers or None, threads=threads, memory=wishes.memory)
