"""The ways to a device: what each must do, and the table of those that are there."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edgegen.core.errors import ConfigError, DeviceError, nearest
from edgegen.core.process import Child
from edgegen.devices.roots import root_for
from edgegen.devices.scripts import script

LOCAL = "local"


class Transport(Protocol):
    """Starts programs on one device. Everything else is done by the agent that it starts there."""

    @property
    def address(self) -> str:
        """Return the address by which the user names the device: `ssh://pi@raspberrypi.local`."""
        ...

    home: str
    """edgegen's folder on the device; `~` is the user's own there."""

    def interpreter(self) -> tuple[str, ...]:
        """Return the command that starts a Python on the device; it exits with 127 without one."""
        ...

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program on the device; its standard streams are the child's, byte for byte.

        The program's standard input closes when the child's does, or when the child dies. Raises
        MissingDependencyError where this machine lacks the program that reaches the device.
        """
        ...

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        """Return what was wrong with the connection; None where the program itself ended so.

        `told` is the end of what the child wrote to its standard error.
        """
        ...

    @property
    def connected(self) -> bool:
        """Return whether the device has let us in, as far as can be seen here."""
        ...

    def why_silent(self) -> str:
        """Return why the device let us in and started nothing, as the end of a sentence."""
        ...

    def close(self) -> None:
        """Give back what the transport holds on this machine; never raises."""
        ...


TRANSPORTS: Mapping[str, str] = {
    "local": "edgegen.devices.local:LocalTransport",
    "ssh": "edgegen.devices.ssh:SshTransport",
    "adb": "edgegen.devices.adb:AdbTransport",
}
"""Scheme of an address -> the class; it is made with the address."""

PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(14, 8, -1)), "python")
"""The names under which a board's Python is looked for: its own choice, then the newest."""

ISOLATED = ("-I", "-B", "-X", "utf8")
"""How Python is started on a device: PYTHONPATH and the user's folders are not looked at, and
nothing is written beside the modules that it imports."""

_FORMS = "local, ssh://[user@]host[:port], adb://SERIAL"


def find_python(home: str) -> tuple[str, ...]:
    """Return a command that starts the Python of a device: a bundle's that was pushed, or its own.

    `home` is edgegen's folder there; the script says what it writes.
    """
    return ("sh", "-c", script("find_python.sh"), "sh", home, " ".join(PYTHONS), *ISOLATED)


def open_transport(address: str, root: str | None = None) -> Transport:
    """Return the transport for an address; nothing is connected yet.

    `root` is the folder on the device that is to be used, else see `root_for`. Raises ConfigError
    for an address of no known form, and for a folder that cannot be one.
    """
    scheme, colon, _ = address.partition("://")
    if address != LOCAL and not colon:
        raise ConfigError(f"'{address}' is no device.", hint=f"A device is one of: {_FORMS}.")
    if scheme not in TRANSPORTS:
        raise ConfigError(
            f"'{scheme}' is no way to a device.",
            hint=f"{nearest(scheme, TRANSPORTS)} A device is one of: {_FORMS}.",
        )
    module, _, name = TRANSPORTS[scheme].partition(":")
    transport: Transport = getattr(importlib.import_module(module), name)(address)
    transport.home = root_for(address, root) or transport.home
    return transport
