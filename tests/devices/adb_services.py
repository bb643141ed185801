"""What adbd serves over a stream: a shell, and files.

Faithful to AOSP's daemon/shell_service.cpp and daemon/file_sync_service.cpp where a host can see
it: a command has a socket, not a pipe, as its standard input and output; when the stream dies the
shell, and only the shell, gets SIGHUP, and the sockets close; a file whose sending breaks off is
removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.devices.adb_wire import Disconnected, Stream

_FRAME = struct.Struct("<BI")
_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)

_REQUEST = struct.Struct("<4sI")
_STAT_1 = struct.Struct("<4s3I")
_STAT_2 = struct.Struct("<4sIQQ4IQ3q")
_DENT_1 = struct.Struct("<4s4I")
_DENT_2 = struct.Struct("<4sIQQ4IQ3qI")
_DATA_BYTES = 64 << 10
_READ_BYTES = 256 << 10


class Shells:
    """Runs commands: `prefix` and the command line are one argument list, as in `sh -c COMMAND`."""

    def __init__(
        self, prefix: Sequence[str], *, folder: Path, environment: Mapping[str, str]
    ) -> None:
        # Looked for here: a command's own environment names the device's folders.
        program = shutil.which(prefix[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if program is None:
            raise FileNotFoundError(f"{prefix[0]} is not here to run a device's commands.")
        self._prefix = (program, *prefix[1:])
        self._folder = folder
        self._environment = dict(environment)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def serve(self, stream: Stream, command: str, *, protocol: bool) -> None:
        """Run one command; with `protocol` (shell v2) its streams are apart, its exit is told."""
        ours, theirs = socket.socketpair()
        errors, their_errors = socket.socketpair() if protocol else (None, None)
        arguments = [*self._prefix, command] if command else list(self._prefix[:-1])
        process = subprocess.Popen(
            arguments,
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=(their_errors or theirs).fileno(),
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
        )
        with self._lock:
            self._running.add(process)
        theirs.close()
        pumps = [(ours, _STDOUT)]
        if errors is not None and their_errors is not None:
            their_errors.close()
            pumps.append((errors, _STDERR))
        threads = [
            threading.Thread(target=_pump, args=(source, stream, kind if protocol else None))
            for source, kind in pumps
        ]
        feeder = threading.Thread(
            target=self._feed, args=(stream, process, [source for source, _ in pumps], protocol)
        )
        for thread in (*threads, feeder):
            thread.start()
        for thread in threads:
            thread.join()
        returncode = process.wait()
        with self._lock:
            self._running.discard(process)
        code = returncode if returncode >= 0 else 0x80 | -returncode
        with contextlib.suppress(Disconnected):
            if protocol:
                stream.write(_FRAME.pack(_EXIT, 1) + bytes([code & 0xFF]))
        stream.close()
        feeder.join()
        for source, _ in pumps:
            source.close()

    def kill(self) -> None:
        """Kill every command with its session's group: the device loses its power."""
        with self._lock:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    @staticmethod
    def _feed(
        stream: Stream,
        process: subprocess.Popen[bytes],
        sockets: Sequence[socket.socket],
        protocol: bool,
    ) -> None:
        """Pass the host's input on, until it closes the stream or the command has ended."""
        source = sockets[0]
        try:
            while True:
                kind, data = _STDIN, b""
                if protocol:
                    kind, size = _FRAME.unpack(stream.read(_FRAME.size))
                    data = stream.read(size)
                else:
                    data = stream.read_some()
                # A command that no longer reads is told by its exit, not by a failed write.
                with contextlib.suppress(OSError):
                    if kind == _STDIN:
                        source.sendall(data)
                    elif kind == _CLOSE_STDIN:
                        source.shutdown(socket.SHUT_WR)
        except Disconnected:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, stream: Stream, kind: int | None) -> None:
    """Pass a command's output to the host; `kind` is its number in shell v2, None without."""
    with contextlib.suppress(Disconnected, OSError):
        while data := source.recv(_READ_BYTES):
            stream.write(data if kind is None else _FRAME.pack(kind, len(data)) + data)


@dataclass(slots=True)
class Files:
    """Serves files: a path of the device lies below `root`, and only below `storage` in it.

    `take` is asked for room before bytes are written, and raises OSError where there is none.
    """

    root: Path
    storage: str
    take: Callable[[int], None]

    def serve(self, stream: Stream) -> None:
        """Answer requests until the host quits. Raises Disconnected."""
        answers: Mapping[bytes, Callable[[Stream, str], None]] = {
            b"STAT": self._stat_1,
            b"STA2": lambda stream, path: self._stat_2(stream, path, b"STA2"),
            b"LST2": lambda stream, path: self._stat_2(stream, path, b"LST2"),
            b"LIST": self._list_1,
            b"LIS2": self._list_2,
            b"SEND": self._send_1,
            b"SND2": self._send_2,
            b"RECV": self._receive_1,
            b"RCV2": self._receive_2,
        }
        while True:
            request, size = _REQUEST.unpack(stream.read(_REQUEST.size))
            if request == b"QUIT":
                return
            path = stream.read(size).decode()
            if request not in answers:
                _fail(stream, f"unknown command {request.decode(errors='replace')}")
                return
            answers[request](stream, path)

    def _real(self, path: str) -> Path:
        """Return where a path of the device lies here. Raises PermissionError outside storage."""
        real = (self.root / path.lstrip("/")).resolve()
        if not real.is_relative_to((self.root / self.storage.lstrip("/")).resolve()):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real

    def _stat_1(self, stream: Stream, path: str) -> None:
        mode = size = modified = 0
        with contextlib.suppress(OSError):
            found = self._lstat(path)
            mode, size, modified = found.st_mode, found.st_size, int(found.st_mtime)
        stream.write(_STAT_1.pack(b"STAT", mode, size & 0xFFFFFFFF, modified))

    def _stat_2(self, stream: Stream, path: str, request: bytes) -> None:
        try:
            found = self._real(path).stat() if request == b"STA2" else self._lstat(path)
        except OSError as error:
            stream.write(_STAT_2.pack(request, error.errno or errno.EIO, *[0] * 10))
            return
        stream.write(_STAT_2.pack(request, 0, *_numbers(found)))

    def _lstat(self, path: str) -> os.stat_result:
        folder, _, name = path.rstrip("/").rpartition("/")
        return (self._real(folder) / name).lstat() if name and folder else self._real(path).lstat()

    def _list_1(self, stream: Stream, path: str) -> None:
        for name, found in self._entries(path):
            head = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime), len(name))
            stream.write(_DENT_1.pack(b"DENT", *head) + name)
        stream.write(_DENT_1.pack(b"DONE", 0, 0, 0, 0))

    def _list_2(self, stream: Stream, path: str) -> None:
        for name, found in self._entries(path):
            stream.write(_DENT_2.pack(b"DNT2", 0, *_numbers(found), len(name)) + name)
        stream.write(_DENT_2.pack(b"DONE", *[0] * 12))

    def _entries(self, path: str) -> Iterator[tuple[bytes, os.stat_result]]:
        with contextlib.suppress(OSError):
            folder = self._real(path)
            yield b".", folder.lstat()
            yield b"..", folder.lstat()
            for entry in sorted(folder.iterdir()):
                yield entry.name.encode(), entry.lstat()

    def _send_1(self, stream: Stream, path: str) -> None:
        path, _, mode = path.rpartition(",")
        self._write(stream, path, int(mode))

    def _send_2(self, stream: Stream, path: str) -> None:
        _, mode = _REQUEST.unpack(stream.read(_REQUEST.size))
        flags = struct.unpack("<I", stream.read(4))[0]
        self._write(stream, path, mode, flags)

    def _write(self, stream: Stream, path: str, mode: int, flags: int = 0) -> None:
        """Take a file, or say why not. One that was not taken whole is not there."""
        refusal = f"unknown flags: {flags}" if flags else ""  # compression is not offered
        output: BinaryIO | None = None
        try:
            real = self._real(path)
            real.parent.mkdir(parents=True, exist_ok=True)
            real.unlink(missing_ok=True)
            output = None if refusal else real.open("xb")
        except OSError as error:
            refusal = f"couldn't create file: {error.strerror}"
        if output is None:
            _fail(stream, refusal)
            self._take_data(stream, None)
            return
        modified = None
        try:
            with output:
                modified = self._take_data(stream, output)
        finally:
            if modified is None:
                real.unlink(missing_ok=True)
        if modified is None:
            return
        if stat.S_ISLNK(mode):
            target = real.read_text().rstrip("\0")
            real.unlink()
            real.symlink_to(target)
        else:
            real.chmod(mode & 0o777)
            os.utime(real, (modified, modified))
        stream.write(_REQUEST.pack(b"OKAY", 0))

    def _take_data(self, stream: Stream, output: BinaryIO | None) -> int | None:
        """Write what comes; return the time of modification, or None after a failure.

        After a failure, and without an `output`, the data is still read: old hosts need that.
        """
        while True:
            kind, number = _REQUEST.unpack(stream.read(_REQUEST.size))
            if kind == b"DONE":
                return None if output is None else int(number)
            data = stream.read(number)
            if output is None:
                continue
            try:
                self.take(len(data))
                output.write(data)
            except OSError as error:
                _fail(stream, f"write failed: {error.strerror}")
                output = None

    def _receive_1(self, stream: Stream, path: str) -> None:
        try:
            with self._real(path).open("rb") as source:
                while data := source.read(_DATA_BYTES):
                    stream.write(_REQUEST.pack(b"DATA", len(data)) + data)
        except OSError as error:
            _fail(stream, f"open failed: {error.strerror}")
            return
        stream.write(_REQUEST.pack(b"DONE", 0))

    def _receive_2(self, stream: Stream, path: str) -> None:
        stream.read(_REQUEST.size)  # its flags ask for compression, which is not offered
        self._receive_1(stream, path)


def _numbers(found: os.stat_result) -> tuple[int, ...]:
    return (
        *(found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid),
        *(found.st_size, int(found.st_atime), int(found.st_mtime), int(found.st_ctime)),
    )


def _fail(stream: Stream, message: str) -> None:
    stream.write(_REQUEST.pack(b"FAIL", len(message)) + message.encode())
