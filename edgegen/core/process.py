"""The only module that starts processes: argument lists, never shell strings, always a bound.

Every child leads a session of its own, so that a Ctrl-C in the terminal reaches edgegen alone,
which then ends the child's whole group. A child that must not outlive a killed edgegen watches its
standard input: `Child` keeps the writing end, and the system closes it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from edgegen.core.environment import Names, child_environment
from edgegen.core.errors import EdgegenError, MissingDependencyError
from edgegen.core.files import translate_disk_errors
from edgegen.core.folders import state_folder
from edgegen.core.head_start import HeadStart

MAXIMUM_LINE_BYTES = 1 << 20
"""A line that a child writes is no longer; one that is, is not our protocol."""

_TAIL_BYTES = 8 << 10
_POLL_S = 0.2


class ProcessError(EdgegenError):
    """A process failed, hung, or wrote what it must not.

    `returncode` is negative for a signal and None where the process was ended for another reason;
    `tail` is the end of its standard error.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        returncode: int | None = None,
        tail: str = "",
        timed_out: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.tail = tail
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a process that has ended left."""

    returncode: int
    stdout: bytes
    stderr: bytes
    wall_s: float

    @property
    def text(self) -> str:
        """Return the standard output as UTF-8; what is not, is replaced."""
        return self.stdout.decode("utf-8", errors="replace")

    @property
    def error_text(self) -> str:
        """Return the standard error as UTF-8; what is not, is replaced."""
        return self.stderr.decode("utf-8", errors="replace")


def run(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    besides: Names | None = None,
    cwd: Path | None = None,
    input: bytes | str | None = None,  # noqa: A002 - subprocess's own word
    check: bool = True,
) -> Completed:
    """Run a program to its end and return what it wrote.

    It sees the variables that `core.environment` names for every child, those of `besides`, and
    `env`. Raises MissingDependencyError where the program
    is not there, and ProcessError where it runs past `timeout_s` (then its group is killed) or,
    with `check`, where it fails.
    """
    started = time.monotonic()
    data = input.encode() if isinstance(input, str) else input
    process = _start(
        arguments,
        stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(env, besides=besides),
        cwd=cwd,
    )
    try:
        stdout, stderr = process.communicate(data, timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        _kill_group(process.pid)
        _, stderr = process.communicate()
        raise ProcessError(
            f"{arguments[0]} did not end within {timeout_s:g} s and was stopped.",
            hint="Retry, or look at what it waits for: " + " ".join(arguments),
            tail=_decode_tail(stderr),
            timed_out=True,
        ) from error
    except BaseException:
        _kill_group(process.pid)
        process.communicate()
        raise
    completed = Completed(
        returncode=process.returncode,
        stdout=stdout,
        stderr=stderr,
        wall_s=time.monotonic() - started,
    )
    if check and completed.returncode != 0:
        tail = _decode_tail(stderr)
        raise ProcessError(
            f"{arguments[0]} {describe_exit(completed.returncode)}."
            + (f" It said: {tail.splitlines()[-1]}" if tail else ""),
            hint="The command was: " + " ".join(arguments),
            returncode=completed.returncode,
            tail=tail,
        )
    return completed


def exit_signal(returncode: int | None) -> signal.Signals | None:
    """Return the signal that ended a process; None where none did.

    A shell, and so every program behind ssh, reports it as 128 and the signal's number.

    >>> exit_signal(139)
    <Signals.SIGSEGV: 11>
    """
    number = 0 if returncode is None else -returncode if returncode < 0 else returncode - 128
    return signal.Signals(number) if number in set(signal.Signals) else None


def describe_exit(returncode: int) -> str:
    """Return how a process ended, as the end of a sentence: `ended with exit code 3`.

    >>> describe_exit(-9)
    'was ended by SIGKILL, probably by the system because memory ran out'
    """
    number = exit_signal(returncode)
    if number is None:
        return (
            f"ended with exit code {returncode}"
            if returncode >= 0
            else f"was ended by signal {-returncode}"
        )
    if number == signal.SIGKILL:
        return "was ended by SIGKILL, probably by the system because memory ran out"
    meaning = _MEANINGS.get(number)
    return f"was ended by {number.name}" + (f" ({meaning})" if meaning else "")


_MEANINGS: Mapping[signal.Signals, str] = {
    signal.SIGILL: "an instruction that the processor lacks",
    signal.SIGSEGV: "a crash in native code",
    signal.SIGABRT: "native code gave up",
    signal.SIGBUS: "a file became shorter, or its disk failed",
}


class Child:
    """A long-lived child: lines on its standard input and output, its standard error in a log.

    A context manager that never leaves the child, or anything that it started in its group, behind.
    `log` is created anew; without one, the standard error goes to a file without a name, of which
    `log_tail` still shows the end. `returncodes` translates exit codes, for a program whose own
    word for them is another. `env` and `besides` are as in `run`. With `started`, it is a process
    that runs already, as it was started.

    Raises MissingDependencyError where the program is not there.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        besides: Names | None = None,
        cwd: Path | None = None,
        returncodes: Mapping[int, int] | None = None,
        started: HeadStart | None = None,
    ) -> None:
        self.arguments = tuple(arguments)
        self._returncodes = returncodes or {}
        self.log = log
        self.returncode: int | None = None
        self.cpu_s: float | None = None
        """Processor seconds of the child and of those of its children that it waited for."""
        self._log = _open_log(log) if started is None else started.log
        try:
            self._process = (
                _start(
                    arguments,
                    stdin=subprocess.PIPE,
                    stderr=self._log,
                    env=child_environment(env, besides=besides),
                    cwd=cwd,
                )
                if started is None
                else started.process
            )
        except BaseException:
            self._log.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout

    @property
    def pid(self) -> int:
        """Return the child's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, line: str) -> None:
        """Write one line to the child's standard input.

        A child that has already ended is not an error here: `lines` and `wait` tell it.
        """
        with contextlib.suppress(BrokenPipeError, ValueError):  # ended, or closed by `close_input`
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()

    def write(self, data: bytes, *, stall_s: float) -> None:
        """Write raw bytes to the child's standard input.

        Raises ProcessError where the child has closed it, or takes nothing for `stall_s`.
        """
        descriptor = self._stdin.fileno()
        view = memoryview(data)
        os.set_blocking(descriptor, False)  # a pipe takes what it has room for, and no more
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_WRITE)
                while view:
                    if not selector.select(stall_s):
                        raise ProcessError(
                            f"{self.arguments[0]} has taken nothing for {stall_s:g} s.",
                            tail=self.log_tail(),
                            timed_out=True,
                        )
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(descriptor, view) :]
        except BrokenPipeError as error:
            raise ProcessError(
                f"{self.arguments[0]} has closed its input.", tail=self.log_tail()
            ) from error
        finally:
            os.set_blocking(descriptor, True)

    def read(self, most: int, *, silence_s: float) -> bytes:
        """Read raw bytes of the child's standard output, at least one; none at its end.

        Not to be mixed with `lines`, which may hold bytes back. Raises ProcessError where the
        child says nothing for `silence_s`.
        """
        if not self.is_readable(silence_s):
            raise ProcessError(
                f"{self.arguments[0]} has said nothing for {silence_s:g} s.",
                tail=self.log_tail(),
                timed_out=True,
            )
        return os.read(self._stdout.fileno(), most)

    def is_readable(self, within_s: float) -> bool:
        """Return whether `read` would return at once, now or within some time."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout.fileno(), selectors.EVENT_READ)
            return bool(selector.select(within_s))

    def close_input(self) -> None:
        """Close the child's standard input; a child that watches it ends."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def lines(self, *, silence_s: float | None = None) -> Iterator[str]:
        """Yield the lines of the child's standard output, without their ends, until it closes it.

        What a dead child's own children might still write is not waited for. Raises ProcessError
        for a line of over MAXIMUM_LINE_BYTES, and where the child says nothing for `silence_s`.
        """
        descriptor = self._stdout.fileno()
        buffer = bytearray()
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                ended = self._has_ended()
                if not selector.select(0 if ended else _POLL_S):
                    if ended:
                        break
                    if silence_s is not None and time.monotonic() - heard > silence_s:
                        raise ProcessError(
                            f"{self.arguments[0]} has said nothing for {silence_s:g} s.",
                            tail=self.log_tail(),
                            timed_out=True,
                        )
                    continue
                chunk = os.read(descriptor, 1 << 16)
                if not chunk:
                    break
                heard = time.monotonic()
                buffer += chunk
                *whole, rest = buffer.split(b"\n")
                if max(map(len, (*whole, rest))) > MAXIMUM_LINE_BYTES:
                    raise ProcessError(
                        f"{self.arguments[0]} wrote a line of over {MAXIMUM_LINE_BYTES} bytes.",
                        tail=self.log_tail(),
                    )
                buffer = bytearray(rest)
                for line in whole:
                    yield line.decode("utf-8", errors="replace")
        if buffer:
            yield buffer.decode("utf-8", errors="replace")

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the child has ended and return its exit code, negative for a signal.

        What it left running in its group is ended too. Raises ProcessError after `timeout_s`.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = 0.001
        while not self._has_ended():
            if deadline is not None and time.monotonic() > deadline:
                raise ProcessError(
                    f"{self.arguments[0]} did not end within {timeout_s:g} s.",
                    tail=self.log_tail(),
                    timed_out=True,
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)
        returncode = self._reap()
        assert returncode is not None
        return returncode

    def terminate(self, *, grace_s: float = 2.0) -> int:
        """Close the child's input, ask its group to end, and after `grace_s` kill the group."""
        if self.returncode is not None:
            return self.returncode
        self.close_input()
        self._signal_group(signal.SIGTERM)
        try:
            return self.wait(grace_s)
        except ProcessError:
            self._signal_group(signal.SIGKILL)
            return self.wait()

    def close(self, *, grace_s: float = 2.0) -> None:
        """End the child if it runs, and close its pipes and log."""
        try:
            self.terminate(grace_s=grace_s)
        except BaseException:  # a second Ctrl-C: no more grace
            self._signal_group(signal.SIGKILL)
            self.wait()
            raise
        finally:
            self.close_input()
            self._stdout.close()
            self._log.close()

    def describe_exit(self) -> str:
        """Return how the child ended; see the function of the same name."""
        return "is still running" if self.returncode is None else describe_exit(self.returncode)

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines that the child wrote to its standard error."""
        if self._log.closed:
            if self.log is None:
                return ""
            with self.log.open("rb") as log:
                return _tail(log, lines)
        return _tail(self._log, lines)

    def _has_ended(self) -> bool:
        if self.returncode is not None:
            return True
        if hasattr(os, "waitid"):  # looks without reaping: the group's number stays taken
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            with contextlib.suppress(ChildProcessError):  # `_reap` says what it means
                return os.waitid(os.P_PID, self.pid, flags) is not None
        return self._reap(os.WNOHANG) is not None  # macOS before Python 3.13

    def _reap(self, flags: int = 0) -> int | None:
        if self.returncode is None:
            if not flags:
                self._signal_group(signal.SIGKILL)
            try:
                pid, status, usage = os.wait4(self.pid, flags)
            except ChildProcessError:  # a signal's exception struck between the reaping and here
                code = -signal.SIGKILL
            else:
                if pid == 0:
                    return None
                self.cpu_s = usage.ru_utime + usage.ru_stime
                code = os.waitstatus_to_exitcode(status)
            self._process.returncode = code
            self.returncode = self._returncodes.get(code, code)
        return self.returncode

    def _signal_group(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def _open_log(path: Path | None) -> IO[bytes]:
    if path is not None:
        return path.open("w+b")
    try:
        return tempfile.TemporaryFile()
    except FileNotFoundError:  # what Python says where no folder for temporary files can be written
        with translate_disk_errors(state_folder(), setting="EDGEGEN_STATE_DIR"):
            state_folder().mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=state_folder())


def _start(
    arguments: Sequence[str],
    *,
    stdin: int,
    stderr: int | IO[bytes],
    env: Mapping[str, str],
    cwd: Path | None,
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise ProcessError(f"{cwd} is no folder to run {arguments[0]} in.") from error
        raise MissingDependencyError(
            f"{arguments[0]} is not installed.", hint=f"Install {arguments[0]} and retry."
        ) from error
    except PermissionError as error:
        raise ProcessError(
            f"{arguments[0]} may not be run: {error.strerror}.",
            hint="Change the permissions of it, and of the folders that it lies in.",
        ) from error


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _decode_tail(data: bytes) -> str:
    return data[-_TAIL_BYTES:].decode("utf-8", errors="replace").strip()


def _tail(log: IO[bytes], lines: int) -> str:
    """Return the last lines of an open file; its offset, which the child shares, stays."""
    size = os.fstat(log.fileno()).st_size
    data = os.pread(log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    return "\n".join(_decode_tail(data).splitlines()[-lines:])
