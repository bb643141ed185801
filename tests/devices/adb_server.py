"""The real adb with a server of its own: its port, its keys, no USB stick of the machine's user."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from edgegen.core.process import Child, Completed, run
from tests.devices.adb_standin import StandInDevice

ADB = shutil.which("adb")

_UNTIL_EOF = 'adb nodaemon server & server=$!; cat >/dev/null; kill "$server"; wait "$server"'
"""Ends the server when its standard input closes: also when the test process was killed."""


class AdbServer:
    """A private adb server; a context manager. `home` is a folder for its keys, and is made."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment that leads `adb` to this server."""
        return {
            "ADB_SERVER_SOCKET": f"tcp:localhost:{self.port}",
            "HOME": str(self.home),
            "ANDROID_SDK_HOME": str(self.home),  # where older adbs look for keys first
            "ADB_MDNS": "0",
            "ADB_MDNS_OPENSCREEN": "0",
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # below the first: no look-out for emulators
        }

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        self._child = Child(
            ["sh", "-c", _UNTIL_EOF], log=self.home / "server.log", env=self.environment
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    self._child.close()
                    raise
                time.sleep(0.02)
            else:
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.close_input()
        self._child.close(grace_s=5)

    def adb(
        self,
        *arguments: str,
        input: bytes | None = None,  # noqa: A002 - subprocess's own word
        timeout_s: float = 20,
    ) -> Completed:
        """Run adb to its end, whatever its exit code, and return what it wrote."""
        return run(
            ["adb", *arguments],
            timeout_s=timeout_s,
            env=self.environment,
            input=input,
            check=False,
        )

    def start(self, *arguments: str) -> Child:
        """Start an adb whose input stays open."""
        return Child(["adb", *arguments], env=self.environment)

    def connect(self, device: StandInDevice) -> str:
        """Connect the device and return its serial, once adb calls it a device.

        Raises AssertionError where that does not happen within a few seconds.
        """
        said = self.adb("connect", device.serial).text
        self.wait_for(device.serial, "device", said=said)
        return device.serial

    def state(self, serial: str) -> str | None:
        """Return the state that adb gives a device; None for one that it does not list."""
        for line in self.adb("devices").text.splitlines()[1:]:
            name, _, state = line.partition("\t")
            if name == serial:
                return state
        return None

    def wait_for(
        self, serial: str, state: str | None, *, timeout_s: float = 8, said: str = ""
    ) -> None:
        """Wait until adb gives a device this state. Raises AssertionError after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (now := self.state(serial)) != state:
            assert time.monotonic() < deadline, f"{serial} is {now}, not {state}. {said}"
            time.sleep(0.05)
