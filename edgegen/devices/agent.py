"""The host's end of the agent: starts it on a device, sends requests, moves bytes.

The agent is part of the packed runner. A few lines of Python, given on the command line, look
whether that file is in the device's folder already, and take it from the connection where not.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import platform
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from edgegen.core.errors import (
    DeviceBusyError,
    DeviceError,
    DeviceFullError,
    EdgegenError,
    IntegrityError,
    MissingDependencyError,
)
from edgegen.core.files import STAGING_PREFIX
from edgegen.core.process import Child, ProcessError, describe_exit
from edgegen.devices.answers import Place, check_size, parse_answer, read_answer
from edgegen.devices.scripts import script
from edgegen.devices.transports import Transport

T = TypeVar("T")

HEARTBEAT_S = 5.0
"""How often the host says that it is alive; the device gives up after `DEVICE_SILENCE_S`."""
DEVICE_SILENCE_S = 60.0
ANSWER_S = 60.0
"""How long an answer may take where nothing else is said."""
SLOWEST_BYTES_PER_S = 3e6
"""What a slow card reads or writes: what is to be hashed or flushed may take so long."""
_STALL_S = 60.0
_PIECE_BYTES = 1 << 20
_LONGEST_ANSWER_BYTES = 8 << 20
_LONGEST_WORDS = 2000
_SCHEMA = 1
_NOT_FOUND = 127


_LOOK_S = 0.5
_SHELL_S = 10.0
"""How long a login shell may take to start a command, once the device has let us in."""

_TERMINALS_ONLY = (
    "Let the files that its login shell reads (~/.bashrc, ~/.zshenv, ~/.cshrc, config.fish) print, "
    "ask and start other shells for terminals only. In ~/.bashrc, first of all: "
    "[ -t 0 ] || return"
)


class NoPythonError(MissingDependencyError):
    """A device without a Python that is new enough; `system` is its `uname -sm`."""

    def __init__(self, address: str, told: str) -> None:
        words = told.split()
        self.system = " ".join(words[:2])
        old = ", ".join(words[2:])
        what = f"Python {old}; the runner needs 3.9 or newer" if old else "no Python"
        if self.system == "Linux aarch64" or address.startswith("adb://"):
            hint = f"edgegen devices setup {shlex.quote(address)} brings one."
        elif old:
            hint = (
                "Install 3.9 or newer beside it (uv python install, pyenv, a newer system). It is "
                "found by the names python3.9 to python3.14 on the PATH of `ssh DEVICE command`."
            )
        else:
            hint = "Install it there: sudo apt install python3"
        super().__init__(f"{address} has {what}.", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bytes:
    """What `get` begins with: the size of the file that follows."""

    size: int

    def __post_init__(self) -> None:
        check_size("size", self.size)


class Agent:
    """One connection to the agent of a device; a context manager that leaves nothing running.

    `root` is the device's folder, as a path there. Where that has no room for the runner, the agent
    runs from the connection: it can still list and free.
    """

    def __init__(self, transport: Transport, runner: bytes) -> None:
        self.transport = transport
        self.root = ""
        self._runner = ""
        self._not_stored: EdgegenError | None = None
        self._runner_bytes = runner
        self._lock = threading.RLock()
        self._rest = bytearray()
        self._child: Child | None = None
        self._heartbeat = Heartbeat()

    def __enter__(self) -> Self:
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection: the agent ends with it, and lets go of its lock."""
        self._heartbeat.stop()
        if self._child is not None:
            child, self._child = self._child, None
            child.close_input()
            try:
                child.wait(2.0)  # the end of its input ends the agent; the connection follows
            except ProcessError:
                pass
            finally:
                child.close()

    @property
    def runner(self) -> str:
        """Return the path of the packed runner on the device.

        Raises DeviceError where it could not be stored there: the agent came without.
        """
        if self._not_stored is not None:
            raise self._not_stored
        return self._runner

    @property
    def runner_id(self) -> str:
        """Return the name of the runner's folder on the device: its hash."""
        return hashlib.sha256(self._runner_bytes).hexdigest()

    @property
    def connected(self) -> bool:
        """Return whether the connection stands, as far as is known here."""
        return self._child is not None and self._child.returncode is None

    def request(
        self, request: str, /, *, answer_s: float = ANSWER_S, **fields: Any
    ) -> dict[str, Any]:
        """Send a request and return the fields of its answer.

        Raises DeviceError, or the class that the agent's word stands for (`busy`, `full`, …).
        """
        with self._in_step():
            self._send({"request": request, **fields})
            return self._expect("done", answer_s=answer_s)

    def ask(
        self, kind: type[T], request: str, /, *, answer_s: float = ANSWER_S, **fields: Any
    ) -> T:
        """Send a request and return its answer as a value; see `request`."""
        answer = self.request(request, answer_s=answer_s, **fields)
        return read_answer(kind, self.transport.address, request, answer)

    def lock(self, purpose: str) -> None:
        """Take the device for this process, until the connection ends.

        Raises DeviceBusyError, with the owner, where somebody else has it.
        """
        owner = {
            "user": user_name(),
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "for": purpose,
        }
        self.request("lock", owner=owner)

    def put(
        self,
        source: Path,
        sha256: str,
        size_bytes: int,
        *,
        offset: int = 0,
        advance: Callable[[float], None] = lambda amount: None,
    ) -> None:
        """Send a file's bytes from `offset` on; `advance` is told how many went.

        Raises IntegrityError where the file is not what `sha256` says, and DeviceError.
        """
        answer_s = ANSWER_S + size_bytes / SLOWEST_BYTES_PER_S
        # The lock is held all along: a sign of life between two pieces would be taken for a byte.
        with self._lock, self._in_step():
            self._send({"request": "put", "sha256": sha256, "size": size_bytes, "offset": offset})
            self._expect("ready", answer_s=answer_s)
            with source.open("rb", buffering=0) as file:
                file.seek(offset)
                left = size_bytes - offset
                while left:
                    piece = file.read(min(left, _PIECE_BYTES))
                    if not piece:
                        raise IntegrityError(
                            f"{source} is shorter than its manifest says.",
                            hint="Build or copy the package again.",
                        )
                    self._write(piece)
                    left -= len(piece)
                    advance(len(piece))
            self._expect("done", answer_s=answer_s)

    def get(
        self,
        path: str,
        destination: Path,
        *,
        most_bytes: int,
        check: Callable[[Path], None] = lambda path: None,
    ) -> None:
        """Copy a file of the device's folder to a place that this machine chose.

        `check` sees the file before it takes its place. Raises OSError where it cannot be written
        here, DeviceError where it has over `most_bytes`, and what `check` raises; what was there is
        then still there.
        """
        temporary = destination.with_name(f"{STAGING_PREFIX}{destination.name}")
        try:
            with self._in_step():
                self._send({"request": "get", "path": path})
                answer = self._expect("bytes")
                left = read_answer(_Bytes, self.transport.address, "get", answer).size
                if left > most_bytes:
                    raise DeviceError(
                        f"{self.transport.address} sends {left} bytes for {path}; "
                        f"{most_bytes} are the most that it can have.",
                        hint="Something else answers there, or its disk is failing.",
                    )
                temporary.unlink(missing_ok=True)
                with temporary.open("xb") as file:
                    while left:
                        piece = self._read(left)
                        file.write(piece)
                        left -= len(piece)
                self._expect("done")
            check(temporary)
            temporary.replace(destination)
        finally:
            temporary.unlink(missing_ok=True)

    def beat(self, child: Child) -> None:
        """Tell another child of this connection, too, that the host is alive."""
        self._heartbeat.add(child)

    def _connect(self) -> None:
        arguments = [
            *self.transport.interpreter(),
            *("-c", script("bootstrap.py"), self.transport.home, self.runner_id),
            *(str(len(self._runner_bytes)), str(DEVICE_SILENCE_S)),
        ]
        self._child = self.transport.start(arguments, env={"PYTHONUTF8": "1"})
        line = self._first_line()
        if line == "shell":
            line = self._next_line()
        word, _, rest = line.partition(" ")
        if word == "need":
            self._write(self._runner_bytes)
            word, _, rest = self._next_line().partition(" ")
        if word == "none":
            raise NoPythonError(self.transport.address, rest)
        if word in ("disk", "full"):
            self._not_stored = _error_of(self.transport.address, word, rest)
        elif word != "have":
            raise DeviceError(
                f"{self.transport.address} answered {line[:60]!r} instead of starting the agent.",
                hint=_TERMINALS_ONLY,
            )
        if word == "have":
            self._runner = self._place("have", rest)
        hello = self._expect("hello")
        if hello.get("schema") != _SCHEMA:
            raise DeviceError(f"The agent of {self.transport.address} is of another version.")
        self.root = self._place("hello", hello.get("root"))
        self._heartbeat.add(self._child, self._lock)
        self._heartbeat.start()

    def _first_line(self) -> str:
        """Return the first line that comes; where the login shell keeps it back, say so soon."""
        child = self._living()
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._rest:
            if child.is_readable(_LOOK_S):
                self._rest += self._receive(1 << 16, _LOOK_S)
            elif self.transport.connected:
                until = min(until, time.monotonic() + _SHELL_S)
            if time.monotonic() > until:
                raise self._silent()
        return self._next_line()

    def _next_line(self) -> str:
        return self._read_line(ANSWER_S).decode("utf-8", "replace")

    def _silent(self) -> DeviceError:
        asked = self._rest.decode("utf-8", "replace").strip()
        said = f", after it printed {asked[:60]!r}" if asked else ""
        return DeviceError(
            f"{self.transport.address} lets us in{said}, but {self.transport.why_silent()}.",
            hint=_TERMINALS_ONLY,
        )

    def _place(self, word: str, path: Any) -> str:
        """Return a path of the device's; raises DeviceError for what is none."""
        return read_answer(Place, self.transport.address, word, {"path": path}).path

    @contextlib.contextmanager
    def _in_step(self) -> Iterator[None]:
        """Close the connection where a request breaks off: the next answer would be another's.

        What the agent refuses in order leaves it open.
        """
        try:
            yield
        except _Refusal as refusal:
            raise refusal.error from None
        except BaseException:
            self.close()
            raise

    def _send(self, request: Mapping[str, Any]) -> None:
        line = json.dumps(request, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
        self._write(line)

    def _write(self, data: bytes) -> None:
        child = self._living()
        try:
            with self._lock:
                child.write(data, stall_s=_STALL_S)
        except ProcessError as error:
            raise self._lost(error) from error

    def _expect(self, event: str, *, answer_s: float = ANSWER_S) -> dict[str, Any]:
        line = self._read_line(answer_s)
        try:
            answer = parse_answer(line)
        except ValueError as error:
            raise self._nonsense(line) from error
        if answer.get("event") == "error":
            kind, message = str(answer.get("kind")), str(answer.get("message"))[:_LONGEST_WORDS]
            raise _Refusal(_error_of(self.transport.address, kind, message))
        if answer.pop("event", None) != event:
            raise self._nonsense(line)
        return answer

    def _nonsense(self, line: bytes) -> DeviceError:
        return DeviceError(
            f"{self.transport.address} sent something that is no answer: {line[:80]!r}.",
            hint="Something else writes into the connection; see ~/.bashrc on the device.",
        )

    def _read_line(self, answer_s: float) -> bytes:
        until = time.monotonic() + answer_s
        while True:
            end = self._rest.find(b"\n")
            if end >= 0:
                line = bytes(self._rest[:end])
                del self._rest[: end + 1]
                return line
            if len(self._rest) > _LONGEST_ANSWER_BYTES:
                raise self._nonsense(bytes(self._rest[:80]))
            self._rest += self._receive(1 << 16, max(until - time.monotonic(), 0.0))

    def _read(self, most: int) -> bytes:
        if self._rest:
            piece = bytes(self._rest[:most])
            del self._rest[: len(piece)]
            return piece
        return self._receive(min(most, _PIECE_BYTES), ANSWER_S)

    def _receive(self, most: int, silence_s: float) -> bytes:
        child = self._living()
        try:
            data = child.read(most, silence_s=silence_s)
        except ProcessError as error:
            raise self._lost(error) from error
        if not data:
            raise self._lost(None)
        return data

    def _living(self) -> Child:
        if self._child is None:
            raise DeviceError(f"The connection to {self.transport.address} is closed.")
        return self._child

    def _lost(self, error: ProcessError | None) -> EdgegenError:
        """Return what to raise when the connection ended where an answer was due."""
        child = self._living()
        if error is not None and error.timed_out:
            with contextlib.suppress(ProcessError):
                child.wait(1.0)
            code = child.returncode
            fault = None if code is None else self.transport.fault(code, child.log_tail())
            return fault or DeviceError(
                f"{self.transport.address} does not answer any more.",
                hint="Look whether it is up; it may be short of memory. Then retry.",
            )
        try:
            returncode = child.wait(5.0)
        except ProcessError:
            returncode = 0
        told = child.log_tail()
        fault = self.transport.fault(returncode, told)
        if fault is not None:
            return fault
        if returncode == _NOT_FOUND:
            return NoPythonError(self.transport.address, "")
        said = f": {told.strip().splitlines()[-1]}" if told.strip() else ""
        return DeviceError(
            f"The agent on {self.transport.address} {describe_exit(returncode)}{said}.",
            hint="Retry. If it ends again, see what the device says: "
            f"edgegen devices show {self.transport.address}",
        )


class _Refusal(Exception):  # noqa: N818 - it carries the error that is raised
    """An answer of the agent's that is an error; the connection stands."""

    def __init__(self, error: EdgegenError) -> None:
        super().__init__(error.message)
        self.error = error


class Heartbeat:
    """Writes an empty line to children now and then, in a thread, so that devices know of us."""

    def __init__(self) -> None:
        self._children: list[tuple[Child, threading.RLock]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def add(self, child: Child, lock: threading.RLock | None = None) -> None:
        """Tell one more child; `lock` is held while bytes go to it."""
        self._children.append((child, lock or threading.RLock()))

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            for child, lock in list(self._children):
                if child.returncode is not None:
                    self._children.remove((child, lock))
                    continue
                if lock.acquire(blocking=False):  # while bytes go, nobody doubts that we live
                    try:
                        child.send("")
                    finally:
                        lock.release()


_KINDS: Mapping[str, tuple[type[EdgegenError], str]] = {
    "disk": (
        DeviceError,
        "Look at that folder there, or choose another, which is remembered: edgegen devices setup "
        "{address} --root DIR",
    ),
    "busy": (DeviceBusyError, "Wait for its end, or ask its owner."),
    "full": (DeviceFullError, "Free some space there: edgegen prune --device {address}"),
    "mismatch": (IntegrityError, "The file changed here or on its way: retry."),
    "missing": (
        DeviceError,
        "What is there: edgegen status --device {address}. A package that isn't, or not whole, is "
        "put there, and made current, by: edgegen deploy PACKAGE --device {address}",
    ),
}


def _error_of(address: str, kind: str, message: str) -> EdgegenError:
    known, hint = _KINDS.get(kind, (DeviceError, "Look at the device, and retry."))
    what = {"busy": "is in use by", "full": "is full:"}.get(kind, "says:")
    text = f"{address} {what} {message}"
    hint = hint.format(address=shlex.quote(address))
    return known(text if text.endswith(".") else f"{text}.", hint=hint)


def user_name() -> str:
    """Return who works here, as a device's lock and history name them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return "someone"
