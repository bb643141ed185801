"""An Android device behind the system's adb; its Python comes with the bundle."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.environment import REMOTE
from edgegen.core.errors import ConfigError, ConnectionLostError, DeviceError
from edgegen.core.process import Child, run
from edgegen.devices.adb_output import explain
from edgegen.devices.android_facts import AndroidFacts, facts_command, parse_facts, too_old
from edgegen.devices.transports import find_python

HOME = "/data/local/tmp/edgegen"
"""Where the shell's user may write and execute, without root or an app."""

_LONGEST_SERIAL = 256
_COMMAND_S = 60.0
_MOST_FACTS_BYTES = 1 << 20
_EXIT_CODES = "shell_v2"
"""What adb calls the way of Android 7 to start a command, the first that tells its exit code."""
_SUCCESS = 113
_ADB_FAILED = 1
_LOST = 255


class AdbTransport:
    """Starts programs on an Android device by the system's adb."""

    def __init__(self, address: str, *, home: str = HOME) -> None:
        self.address = address
        self.home = home
        self.serial = address.removeprefix("adb://")
        plain = self.serial.isprintable() and len(self.serial) <= _LONGEST_SERIAL
        if not plain or self.serial.startswith("-"):  # with a dash it would be an option of adb's
            raise ConfigError(
                f"'{address}' is no adb address.",
                hint="The form is adb://SERIAL; `edgegen devices` lists those that are attached.",
            )

    def interpreter(self) -> tuple[str, ...]:
        """Return the command that finds the Python of the bundle.

        Raises DeviceError where adb doesn't reach the device, and MissingDependencyError where its
        Android is too old.
        """
        done = run([*self._adb(), "features"], timeout_s=_COMMAND_S, besides=REMOTE, check=False)
        error = explain(done.error_text, self.serial)
        if error is not None:
            raise error
        if done.returncode == 0 and _EXIT_CODES not in done.text.split():
            raise too_old(self.address)
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
        # Without -T, which an Android before 7 refuses; a command has no terminal in either case.
        with Child([*self._adb(), "shell", command], besides=REMOTE) as child:
            answer = b""
            while len(answer) < _MOST_FACTS_BYTES:
                piece = child.read(_MOST_FACTS_BYTES, silence_s=_COMMAND_S)
                if not piece:
                    break
                answer += piece
            child.terminate()
            error = explain(child.log_tail(), self.serial)
        if error is not None:
            raise error
        return parse_facts(answer.decode("utf-8", "replace"))

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

    @property
    def connected(self) -> bool:
        """Return True: adb's server holds the connection."""
        return True

    def why_silent(self) -> str:
        """Return what is known: Android's shell reads no files of the user's."""
        return "its shell does not start anything"

    def close(self) -> None:
        """Do nothing: adb's server is the user's."""

    def _adb(self) -> list[str]:
        return ["adb", *(["-s", self.serial] if self.serial else [])]
