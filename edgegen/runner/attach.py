"""Connects to a device with the runner that this edgegen packs."""

from __future__ import annotations

from edgegen.devices.device import Device
from edgegen.devices.transports import open_transport
from edgegen.runner.pack import pack_runner


def attach(address: str, root: str | None = None) -> Device:
    """Return the device at an address; it is connected when its context is entered.

    `root` is the folder there that is to be used. Raises ConfigError for an address of no known
    form.
    """
    return Device(open_transport(address, root), pack_runner())
