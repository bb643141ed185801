"""An Android device behind the system's adb; its Python comes with the bundle."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.environment import REMOTE
from edgegen.core.errors import ConfigError, ConnectionLostError, DeviceError
from edgegen.core.process import Child, run
from edgegen.devices.adb_output import explain
from edgegen.devices.android_facts import AndroidFacts, facts_command, parse_facts
from edgegen.devices.transports import find_python

HOME = "/data/local/tmp/edgegen"
"""Where the shell's user may write and execute, without root or an app."""

_SERIAL = re.compile(r"[A-Za-z0-9_.:\[\]-]*")
_COMMAND_S = 60.0
_SUCCESS = 113
_ADB_FAILED = 1
_LOST = 255


class AdbTransport:
    """Starts programs on an Android device by the system's adb."""

    def __init__(self, address: str, *, home: str = HOME) -> None:
        self.address = address
        self.home = home
        self.serial = address.removeprefix("adb://")
        if not _SERIAL.fullmatch(self.serial) or self.serial.startswith("-"):
            raise ConfigError(
                f"'{address}' is no adb address.",
                hint="The form is adb://SERIAL; `edgegen devices` lists those that are attached.",
            )

    def interpreter(self) -> tuple[str, ...]:
        """Return the command that finds the Python of the bundle."""
        return find_python(self.home)

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a program on the device; see `Transport.start`.

        adb ends with 0, and without a word, where the connection is lost in the middle. So the
        device tells another code for success, and 0 is a loss.
        """
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        words = shlex.join([*(["env", *settings] if settings else []), *arguments])
        command = f"{words}; code=$?; [ $code = 0 ] && code={_SUCCESS}; exit $code"
        return Child(
            [*self._adb(), "shell", "-T", command],
            log=log,
            besides=REMOTE,
            returncodes={_SUCCESS: 0, 0: _LOST},
        )

    def facts(self) -> AndroidFacts:
        """Return what the device says of itself by its shell alone; no Python is needed.

        Raises DeviceError where it cannot be reached.
        """
        command = facts_command(posixpath.dirname(self.home))
        done = run(
            [*self._adb(), "shell", "-T", command],
            timeout_s=_COMMAND_S,
            besides=REMOTE,
            check=False,
        )
        error = explain(done.error_text, self.serial)
        if error is not None:
            raise error
        return parse_facts(done.text)

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        """Return what adb said of the connection; None where the program itself ended so."""
        if returncode not in (_ADB_FAILED, _LOST):
            return None
        error = explain(told, self.serial)
        if error is None and returncode == _LOST:
            return ConnectionLostError(
                f"The connection to {self.address} was lost.",
                hint="Look at the cable, and whether the device restarted; then retry.",
            )
        return error

    def close(self) -> None:
        """Do nothing: adb's server is the user's."""

    def _adb(self) -> list[str]:
        return ["adb", *(["-s", self.serial] if self.serial else [])]
