"""Which chip a device has, as far as it says: for its NPU a package may have been compiled."""

from __future__ import annotations

from edgegen.core.chips import Chip, find_chip
from edgegen.core.errors import ConfigError
from edgegen.core.package import Compiled
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.match import matching_profile


def chip_of(facts: DeviceFacts) -> Chip | None:
    """Return a device's chip, by its maker's name for it or by the device's profile."""
    if facts.soc is not None:
        return find_chip(facts.soc)
    profile = matching_profile(facts)
    named = None if profile is None else profile.hardware.chip
    return None if named is None else find_chip(named)


def require_chip(device: Device, compiled: Compiled | None) -> None:
    """Raise ConfigError where a package was compiled for another chip than a device says it has.

    A device that doesn't say may have it: there the runtime finds out.
    """
    if compiled is None or device.is_local:
        return
    chip = chip_of(device.facts)
    said = device.facts.soc if chip is None else f"{chip.title} ({chip.parts[0]})"
    if said is None or (chip is not None and chip.name == compiled.chip):
        return
    raise ConfigError(
        f"{device.address} has {said}, and the package was compiled for the NPU of "
        f"{compiled.chip} ({compiled.part}).",
        hint="Package the model for the processor, without --npu."
        if chip is None
        else f"Compile for it: edgegen package MODEL -t onnx --chip {chip.name}",
    )
