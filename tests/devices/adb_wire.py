"""The adb transport protocol: packets, streams over one connection, and RSA signatures of a host.

Source: AOSP, packages/modules/adb, protocol.txt and adb.h. Only what a device needs.
"""

from __future__ import annotations

import base64
import contextlib
import queue
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Protocol

VERSION = 0x01000001
"""From this version on, the sum over a packet's data is not checked once CNXN was exchanged."""

MAXIMUM_PAYLOAD = 1 << 20
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3
TOKEN_BYTES = 20

_HEADER = struct.Struct("<4s5I")
_CHUNK_BYTES = 64 << 10
_SHA1_DIGEST_INFO = bytes.fromhex("3021300906052b0e03021a05000414")


class Disconnected(Exception):  # noqa: N818 - an event of the protocol, not a mistake
    """The other side is gone, or the stream was closed."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet: a command of four letters, two numbers that mean something to it, and data."""

    command: bytes
    first: int
    second: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes on the wire. Only packets before CNXN need their sum: it is short."""
        total = sum(self.data) & 0xFFFFFFFF if self.command in (b"CNXN", b"AUTH") else 0
        magic = struct.unpack("<I", self.command)[0] ^ 0xFFFFFFFF
        header = _HEADER.pack(self.command, self.first, self.second, len(self.data), total, magic)
        return header + self.data


class Meter(Protocol):
    """Is told of every chunk that passes, before it does; it may sleep, or raise Disconnected."""

    def received(self, size_bytes: int) -> None: ...

    def sent(self, size_bytes: int) -> None: ...


class Link:
    """A socket that carries packets, under the eyes of a meter."""

    def __init__(self, connection: socket.socket, meter: Meter) -> None:
        self._socket = connection
        self._meter = meter
        self._sending = threading.Lock()

    def receive(self) -> Packet:
        """Return the next packet. Raises Disconnected."""
        command, first, second, size, _, _ = _HEADER.unpack(self._take(_HEADER.size))
        return Packet(command, first, second, self._take(size))

    def send(self, packet: Packet) -> None:
        """Send a packet whole, in turn with other threads. Raises Disconnected."""
        data = memoryview(packet.encode())
        with self._sending:
            try:
                for start in range(0, len(data), _CHUNK_BYTES):
                    chunk = data[start : start + _CHUNK_BYTES]
                    self._meter.sent(len(chunk))
                    self._socket.sendall(chunk)
            except (OSError, Disconnected) as error:
                self.close()  # half a packet is on the wire: nothing can follow it
                raise Disconnected from error

    def close(self) -> None:
        """Drop the connection; whoever waits on it is told."""
        with contextlib.suppress(OSError):  # it may be down already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                chunk = self._socket.recv(min(size - len(data), _CHUNK_BYTES))
            except OSError as error:
                raise Disconnected from error
            if not chunk:
                raise Disconnected
            self._meter.received(len(chunk))
            data += chunk
        return bytes(data)


class Stream:
    """One service's stream: each WRTE waits for the other side's OKAY before the next is sent."""

    def __init__(self, link: Link, *, local: int, remote: int, maximum_bytes: int) -> None:
        self._link = link
        self._local = local
        self._remote = remote
        self._maximum_bytes = maximum_bytes
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._unread = bytearray()
        self._okays = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._ended = False

    def write(self, data: bytes) -> None:
        """Send data and wait until all of it was taken. Raises Disconnected."""
        with self._writing:
            for start in range(0, len(data), self._maximum_bytes):
                if self._ended:
                    raise Disconnected
                piece = data[start : start + self._maximum_bytes]
                self._link.send(Packet(b"WRTE", self._local, self._remote, piece))
                self._okays.acquire()
                if self._ended:
                    raise Disconnected

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes. Raises Disconnected."""
        while len(self._unread) < size:
            self._unread += self._next()
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def read_some(self) -> bytes:
        """Return what came next, however much it is. Raises Disconnected."""
        taken = bytes(self._unread) or self._next()
        self._unread.clear()
        return taken

    def close(self) -> None:
        """Close the stream from this side."""
        if not self._ended:
            self.end()
            with contextlib.suppress(Disconnected):
                self._link.send(Packet(b"CLSE", self._local, self._remote))

    def arrive(self, data: bytes) -> None:
        """Hand in what the connection received for this stream."""
        self._arrived.put(data)

    def acknowledge(self) -> None:
        """Note that the other side took the last WRTE."""
        self._okays.release()

    def end(self) -> None:
        """Note that nothing comes any more; readers and writers wake up."""
        self._ended = True
        self._arrived.put(None)
        self._okays.release()

    def _next(self) -> bytes:
        data = self._arrived.get()
        if data is None:
            self._arrived.put(None)  # for the next reader
            raise Disconnected
        self._link.send(Packet(b"OKAY", self._local, self._remote))
        return data


def has_signed(key: bytes, token: bytes, signature: bytes) -> bool:
    """Say whether `signature` is the token's by the host whose public key this is.

    A key is what a host offers: base64 of (words, n0inv, modulus, rr, exponent), little-endian,
    then a space and the host's name. The signature is PKCS #1 v1.5, with the token as the SHA-1.
    """
    raw = base64.b64decode(key.rstrip(b"\0").split(b" ")[0])
    size: int = struct.unpack_from("<I", raw)[0] * 4
    modulus = int.from_bytes(raw[8 : 8 + size], "little")
    exponent: int = struct.unpack_from("<I", raw, 8 + 2 * size)[0]
    message = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(size, "big")
    tail = b"\0" + _SHA1_DIGEST_INFO + token
    return message == b"\0\1" + b"\xff" * (size - 2 - len(tail)) + tail
