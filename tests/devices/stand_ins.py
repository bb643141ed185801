"""Transports that break on purpose; what they start is real."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.errors import ConnectionLostError, DeviceError
from edgegen.core.process import Child
from edgegen.devices.device import Device
from edgegen.devices.local import LocalTransport
from edgegen.runner.pack import pack_runner

LOST = 255

_CUT = """\
import os, subprocess, sys
left = int(sys.argv[1])
child = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
while left:
    data = os.read(0, min(left, 65536))
    if not data:
        child.stdin.close()
        sys.exit(child.wait())
    left -= len(data)
    try:
        os.write(child.stdin.fileno(), data)
    except BrokenPipeError:
        sys.exit(child.wait())
child.stdin.close()
child.wait()
sys.stderr.write("the cable was cut\\n")
sys.exit(255)
"""


class OtherMachine(LocalTransport):
    """This machine, in a folder of its own, behind something that counts as a connection."""

    def __init__(self, home: Path, address: str = "ssh://stand-in") -> None:
        super().__init__()
        self.address = address
        self.home = str(home)

    def fault(self, returncode: int, told: str) -> DeviceError | None:
        return ConnectionLostError(f"{self.address} is gone.") if returncode == LOST else None


class CutTransport(OtherMachine):
    """A connection that breaks after so many bytes went to the device, once."""

    def __init__(self, home: Path, after_bytes: int) -> None:
        super().__init__(home)
        self.after_bytes: int | None = after_bytes

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        if self.after_bytes is None:
            return super().start(arguments, log=log, env=env)
        cut = [sys.executable, "-c", _CUT, str(self.after_bytes), *arguments]
        return super().start(cut, log=log, env=env)


class ScriptedRunner(OtherMachine):
    """A device whose agent is the real one, and whose runner is a script of the test."""

    def __init__(self, home: Path, script: str) -> None:
        super().__init__(home)
        self.script = script

    def start(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        if arguments[-1].endswith(".pyz"):
            arguments = [sys.executable, "-c", self.script]
        return super().start(arguments, log=log, env=env)


def device(transport: LocalTransport) -> Device:
    return Device(transport, pack_runner())
