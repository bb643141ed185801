"""A device that speaks adb's own protocol over TCP to the real adb, in threads of the test.

    with StandInDevice(storage=tmp_path) as device, AdbServer(tmp_path / "host") as server:
        serial = server.connect(device)
        server.adb("-s", serial, "shell", "-T", "echo $PATH; exit 3")
        device.faults.cut_after(received_bytes=1 << 20)

By default its commands run in this machine's /bin/sh, and `storage`, an ordinary folder of this
machine, plays /data/local/tmp under its own path: hand that path to the transport as the remote
home. With `root`, its commands are to run in that root (`shell=["chroot", root, "/system/bin/sh",
"-c"]`), and the paths that adb sees begin there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.devices import adb_wire
from tests.devices.adb_faults import Faults
from tests.devices.adb_services import Files, Shells
from tests.devices.adb_wire import Disconnected, Link, Packet, Stream

SERVICES = frozenset({"shell", "exec", "sync", "reboot"})

BOOT_ID = "/proc/sys/kernel/random/boot_id"

_CAT = f"""[ "$*" = {BOOT_ID} ] && exec /bin/cat "$EDGEGEN_STANDIN_BOOT_ID"
exec /bin/cat "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """What the device says of itself; `state` is device, recovery, sideload or bootloader."""

    state: str = "device"
    product: str = "edgegen_standin"
    model: str = "Stand in"
    device: str = "standin"
    features: tuple[str, ...] = ("shell_v2", "cmd", "stat_v2", "ls_v2", "sendrecv_v2")

    def encode(self) -> bytes:
        """Return the text of CNXN."""
        return (
            f"{self.state}::ro.product.name={self.product};ro.product.model={self.model};"
            f"ro.product.device={self.device};features={','.join(self.features)}"
        ).encode()


@dataclass(slots=True, kw_only=True)
class StandInDevice:
    """The device; a context manager that listens on loopback, on a port outside 5555-5585.

    `shell` is a command's prefix, as in `sh -c`. `programs` are shell scripts by name that come
    first on its PATH (how `getprop` and `dumpsys` are played); they are not put into a `root`.
    With `asks`, a host whose key is not trusted is "unauthorized" until `accept_key`.
    """

    storage: Path
    root: Path | None = None
    shell: Sequence[str] = ("/bin/sh", "-c")
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, str] = field(default_factory=dict)
    banner: Banner = Banner()
    asks: bool = False
    away_s: float = 0.3
    """How long a reboot takes that the host asks for."""

    faults: Faults = field(default_factory=Faults, init=False)
    port: int = field(default=0, init=False)
    boot_id: str = field(default="", init=False)
    services: list[str] = field(default_factory=list, init=False)
    """What hosts asked for, in order: `shell,v2,raw:echo`, `sync:`."""
    trusted_keys: list[bytes] = field(default_factory=list, init=False)
    _offered: list[tuple[Connection, bytes]] = field(default_factory=list, init=False)
    _listener: socket.socket | None = field(default=None, init=False)
    _connections: list[Connection] = field(default_factory=list, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)
    _private: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)
    _shells: Shells = field(init=False)
    _files: Files = field(init=False)

    @property
    def serial(self) -> str:
        """Return the name that adb gives the device."""
        return f"127.0.0.1:{self.port}"

    @property
    def boot_id_file(self) -> Path:
        """Return the file that holds the boot id: bind it over the one in a root's /proc."""
        assert self._private is not None
        return Path(self._private.name) / "boot_id"

    def __enter__(self) -> Self:
        self._private = tempfile.TemporaryDirectory(prefix="adb-device-")
        private = Path(self._private.name)
        programs, slash = private / "bin", private / "slash"
        programs.mkdir()
        slash.mkdir()
        for name, script in {"cat": _CAT, **self.programs}.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}")
            (programs / name).chmod(0o755)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin"
            if self.root is None
            else "/system/bin:/usr/bin:/bin",
            "HOME": "/",
            "TMPDIR": "/data/local/tmp" if self.root is not None else str(self.storage),
            "EDGEGEN_STANDIN_BOOT_ID": str(self.boot_id_file),
            **self.environment,
        }
        # A relative path is a mistake on a device, where commands start in /: it must not land
        # in the storage here.
        self._shells = Shells(self.shell, folder=slash, environment=environment)
        self._files = Files(
            root=self.root or Path("/"),
            storage="/" if self.root is not None else str(self.storage),
            take=self.faults.take,
        )
        self._boot()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.power_off()
        assert self._private is not None
        self._private.cleanup()

    def power_off(self) -> None:
        """Drop every connection, kill every command and refuse new connections."""
        with self._lock:
            if self._listener is not None:
                with contextlib.suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
                self._listener.close()
                self._listener = None
            self.drop()
            self._shells.kill()

    def drop(self) -> None:
        """Pull the cable out and put it in again: connections end, commands get SIGHUP."""
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def reboot(self, away_s: float) -> None:
        """Power off now, and come back by itself after `away_s` seconds with another boot id."""
        self.power_off()
        timer = threading.Timer(away_s, self._boot)
        timer.daemon = True
        timer.start()

    def accept_key(self) -> None:
        """Play the user who accepts the debugging dialog, and always allows this host."""
        with self._lock:
            for connection, key in self._offered:
                self.trusted_keys.append(key)
                connection.welcome()
            self._offered.clear()

    def _boot(self) -> None:
        with self._lock:
            if self._private is None or not Path(self._private.name).exists():
                return  # the test is over
            self.boot_id = str(uuid.uuid4())
            self.boot_id_file.write_text(self.boot_id + "\n")
            listener = socket.create_server(("127.0.0.1", self.port), backlog=16)
            self.port = listener.getsockname()[1]
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, Link(accepted, self.faults))
            with self._lock:
                self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def serve(self, stream: Stream, name: str) -> None:
        """Serve one stream until it ends; `name` begins with one of SERVICES."""
        self.services.append(name)
        kind, _, argument = name.partition(":")
        options = kind.split(",")
        try:
            if options[0] in ("shell", "exec"):
                self._shells.serve(stream, argument, protocol="v2" in options)
            elif kind == "sync":
                self._files.serve(stream)
            elif kind == "reboot":
                self.reboot(self.away_s)
        except Disconnected:
            pass
        stream.close()

    def offer(self, connection: Connection, key: bytes) -> None:
        """Show the dialog with a host's key."""
        with self._lock:
            self._offered.append((connection, key))


class Connection:
    """One host's connection: introduces the device, and opens and feeds its streams."""

    def __init__(self, device: StandInDevice, link: Link) -> None:
        self._device = device
        self._link = link
        self._streams: dict[int, Stream] = {}
        self._maximum_bytes = 4096
        self._token = b""
        self._welcomed = False

    def serve(self) -> None:
        """Answer packets until the connection ends."""
        opened = 0
        with contextlib.suppress(Disconnected):
            while True:
                packet = self._link.receive()
                if self._device.faults.silent:
                    continue
                if packet.command == b"CNXN":
                    self._maximum_bytes = min(packet.second, adb_wire.MAXIMUM_PAYLOAD)
                    if self._device.asks:
                        self._ask()
                    else:
                        self.welcome()
                elif packet.command == b"AUTH":
                    self._authorize(packet)
                elif packet.command == b"OPEN" and self._welcomed:
                    opened += 1
                    self._open(opened, packet)
                elif (stream := self._streams.get(packet.second)) is not None:
                    self._feed(stream, packet)
        self.close()

    def welcome(self) -> None:
        """Let the host in."""
        self._welcomed = True
        version, maximum = adb_wire.VERSION, adb_wire.MAXIMUM_PAYLOAD
        with contextlib.suppress(Disconnected):
            self._link.send(Packet(b"CNXN", version, maximum, self._device.banner.encode()))

    def close(self) -> None:
        """End the connection and all its streams."""
        self._link.close()
        for stream in list(self._streams.values()):
            stream.end()

    def _ask(self) -> None:
        self._token = os.urandom(adb_wire.TOKEN_BYTES)
        self._link.send(Packet(b"AUTH", adb_wire.AUTH_TOKEN, 0, self._token))

    def _authorize(self, packet: Packet) -> None:
        if packet.first == adb_wire.AUTH_SIGNATURE:
            keys = self._device.trusted_keys
            if any(adb_wire.has_signed(key, self._token, packet.data) for key in keys):
                self.welcome()
            else:
                self._ask()
        elif packet.first == adb_wire.AUTH_PUBLIC_KEY:
            self._device.offer(self, packet.data)

    def _open(self, local: int, packet: Packet) -> None:
        name = packet.data.rstrip(b"\0").decode()
        if name.partition(":")[0].split(",")[0] not in SERVICES:
            self._link.send(Packet(b"CLSE", 0, packet.first))
            return
        stream = Stream(
            self._link, local=local, remote=packet.first, maximum_bytes=self._maximum_bytes
        )
        self._streams[local] = stream
        self._link.send(Packet(b"OKAY", local, packet.first))
        threading.Thread(target=self._device.serve, args=(stream, name), daemon=True).start()

    def _feed(self, stream: Stream, packet: Packet) -> None:
        if packet.command == b"WRTE":
            stream.arrive(packet.data)
        elif packet.command == b"OKAY":
            stream.acknowledge()
        elif packet.command == b"CLSE":
            self._streams.pop(packet.second, None)
            stream.end()
