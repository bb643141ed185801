"""Which chip a device has, as far as it says: for its NPU a package may have been compiled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgegen.core.chips import Chip, find_chip
from edgegen.core.errors import ConfigError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import Compiled
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.match import matching_profile
from edgegen.devices.store import Shipment, shipment


def chip_of(facts: DeviceFacts) -> Chip | None:
    """Return a device's chip, by its maker's name for it or by the device's profile."""
    if facts.soc is not None:
        return find_chip(facts.soc)
    profile = matching_profile(facts)
    named = None if profile is None else profile.hardware.chip
    return None if named is None else find_chip(named)


def cargo_for(
    device: Device, package: Path, name: str | None = None, *, wanted: str | None = None
) -> Shipment:
    """Return what a device needs of a package: of several chips' contexts, those of its own.

    `wanted` is the chip of a device that doesn't say which it has. Raises ConfigError for one that
    says another, and what `require_chip` and `shipment` raise.
    """
    chip = require_chip(device, load_manifest(package).compiled)
    if wanted is not None and chip not in (None, wanted):
        raise ConfigError(f"{device.address} has {chip}, not {wanted}.", hint="Leave --chip out.")
    return shipment(package, name, chip=chip or wanted)


def require_chip(device: Device, compiled: Sequence[Compiled]) -> str | None:
    """Return the chip that a device has, of those that a package was compiled for.

    A device that doesn't say may have any of them, which is None: there the runtime finds out.
    Raises ConfigError for a device that says it has another.
    """
    if not compiled or device.is_local:
        return None
    chip = chip_of(device.facts)
    said = device.facts.soc if chip is None else f"{chip.title} ({chip.parts[0]})"
    if said is None:
        return None
    if chip is not None and any(it.chip == chip.name for it in compiled):
        return chip.name
    known = " and ".join(f"{it.chip} ({it.part})" for it in compiled)
    raise ConfigError(
        f"{device.address} has {said}, and the package was compiled for the NPU of {known}.",
        hint="Package the model for the processor, without --npu."
        if chip is None
        else f"Compile for it: edgegen package MODEL -t onnx --chip {chip.name}",
    )
