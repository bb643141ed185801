"""This machine as a device."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.errors import ConfigError, DeviceError
from edgegen.core.folders import state_folder
from edgegen.core.process import Child
from edgegen.devices.transports import LOCAL


class LocalTransport:
    """Starts programs here. The device's folder is part of edgegen's own state folder."""

    def __init__(self, address: str = LOCAL) -> None:
        if address != LOCAL:
            raise ConfigError(f"'{address}' is no device.", hint=f"This machine is '{LOCAL}'.")
        self.address = address
        self.home = str(state_folder() / "device")

    def interpreter(self) -> tuple[str, ...]:
        """Return the Python that runs edgegen."""
        return (sys.executable,)

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program; see `Transport.start`."""
        return Child(arguments, log=log, env=env)

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        """Return None: there is no connection that could break."""
        return None

    @property
    def connected(self) -> bool:
        """Return True: there is no connection to wait for."""
        return True

    def why_silent(self) -> str:
        """Return what is known: nothing."""
        return "its Python does not start"

    def close(self) -> None:
        """Do nothing."""
