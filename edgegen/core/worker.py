"""A job in a process of its own, so that its memory is given back and its crash is an error.

The worker is a module that is run with `python -m`. It gets a frozen value as one line of JSON on
its standard input, and writes JSON lines: events of its own, then `{"event": "done", …}`, whose
`cpu_s` is what the worker and its children have taken since it began, or
`{"event": "error", "kind": …, "message": …, "hint": …}`, where the kind names an error class. After
`done` it takes the next job. What libraries print goes to its log. It ends when its input does, so
it never outlives edgegen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from edgegen.core import errors
from edgegen.core.codec import decode, encode
from edgegen.core.errors import (
    EdgegenError,
    ExportError,
    MissingDependencyError,
    OutOfMemoryError,
)
from edgegen.core.memory import PeakSampler
from edgegen.core.package import StageCost
from edgegen.core.process import Child, ProcessError
from edgegen.core.scratch import ScratchFolder
from edgegen.core.system_errors import system_error

Event = Mapping[str, Any]
Emit = Callable[..., None]
J = TypeVar("J")

_END_S = 60.0
"""How long a worker that has done its jobs may take to end."""
_MEMORY_HINT = "Close other programs, or take a machine with more memory."
_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning take the processor from others
    "OPENBLAS_NUM_THREADS": "1",  # numpy's, whose threads spin all the same
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job that was done: its last event, and what it cost."""

    done: Event
    cost: StageCost


def serve(job_class: type[J], work: Callable[[J, Emit], Event], *, extra: str) -> int:
    """Do the jobs on standard input, in the worker; return its exit code.

    An error ends the worker. `work` takes a job and a function that emits events, and returns the
    fields of `done`. `extra` is the extra of `pip install edgegen[...]` to name where a toolkit is
    missing.
    """
    # Only this stream is the protocol: whatever a library prints belongs into the log.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: str, **fields: object) -> None:
        protocol.write(json.dumps({"event": event, **fields}) + "\n")
        protocol.flush()

    jobs = _Jobs()
    try:
        with as_edgegen_errors(extra):
            while (line := jobs.next()) is not None:
                # Not as a file of somebody's: a path in it may have bytes that are no UTF-8.
                job = decode(job_class, json.loads(line), source="the job")
                fields = work(job, emit)
                jobs.done()
                emit("done", cpu_s=_spent_s(), **fields)
    except EdgegenError as error:
        emit("error", **error_fields(error))
        return error.exit_code
    return 0


@contextmanager
def as_edgegen_errors(extra: str) -> Iterator[None]:
    """Raise what toolkits and the system raise as edgegen's errors; see `serve` for `extra`."""
    try:
        yield
    except ImportError as error:
        raise missing_toolkit(error, extra) from error
    except MemoryError as error:
        raise out_of_memory(error) from error
    except OSError as error:
        known = system_error(error)
        if known is None:
            raise
        raise known from error


class _Jobs:
    """The lines of standard input; where it ends in the middle of a job, so does the process."""

    def __init__(self) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._left = 0
        self._counting = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> str | None:
        """Return the next line; None at the end."""
        return self._lines.get()

    def done(self) -> None:
        """Say that the job of the last line is done."""
        with self._counting:
            self._left -= 1

    def _read(self) -> None:
        for line in sys.stdin:
            with self._counting:
                self._left += 1
            self._lines.put(line)
        with self._counting:
            if self._left:
                os._exit(errors.INTERRUPTED_EXIT_CODE)
        self._lines.put(None)


def _spent_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def call(
    module: str,
    job: object,
    *,
    stage: str,
    on_event: Callable[[Event], None],
    log: Path | None = None,
    sampler: PeakSampler | None = None,
) -> Finished:
    """Have a worker do one job; return its last event and what it cost.

    `sampler` measures the memory; default: one for this job. Raises the error that the worker
    names, ResourceError where the system killed it, and ExportError where it died otherwise; both
    show the end of its log.
    """
    with Worker(module, log=log) as worker:
        finished = worker.do(job, stage=stage, on_event=on_event, sampler=sampler)
        ending_s = worker.end(stage)
    return replace(finished, cost=replace(finished.cost, cpu_s=finished.cost.cpu_s + ending_s))


class Worker:
    """A worker that does one job after another: what it imported for the first serves them all.

    A context manager, which leaves no process behind. All jobs have one log.
    """

    def __init__(self, module: str, *, log: Path | None = None) -> None:
        self._module = module
        self._log = log
        self._stack = ExitStack()
        self._counted_s = 0.0
        self.is_ready = False
        """Whether it can take a job: it runs, and none has failed."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            scratch, environment = stack.enter_context(_own_environment())
            arguments = [sys.executable, "-P", "-m", self._module]
            self._child = stack.enter_context(
                Child(arguments, log=self._log, env=environment, cwd=scratch)
            )
            self._lines = self._child.lines()
            self._stack = stack.pop_all()
        self.is_ready = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_ready = False
        self._stack.close()

    def do(
        self,
        job: object,
        *,
        stage: str,
        on_event: Callable[[Event], None],
        sampler: PeakSampler | None = None,
    ) -> Finished:
        """Have a job done; return its last event and what it cost. Raises as `call` does."""
        self.is_ready = False
        started_s, cpu_started_s = time.monotonic(), time.process_time()
        with ExitStack() as stack:
            memory = sampler or stack.enter_context(PeakSampler())
            self._child.send(json.dumps(encode(job)))
            done = self._hear(stage, on_event)
        cpu_s = float(done["cpu_s"])
        cost = StageCost(
            stage=stage,
            wall_s=time.monotonic() - started_s,
            cpu_s=time.process_time() - cpu_started_s + cpu_s - self._counted_s,
            peak_memory_bytes=memory.peak_pss_bytes,
        )
        self._counted_s = cpu_s
        self.is_ready = True
        return Finished(done=done, cost=cost)

    def end(self, stage: str) -> float:
        """Let the worker end; return the processor seconds since its last job.

        One that takes longer than a minute is stopped: what it was asked for, it has done. Raises
        as `call` does where it doesn't end well.
        """
        self.is_ready = False
        self._child.close_input()
        try:
            code = self._child.wait(timeout_s=_END_S)
        except ProcessError:
            self._child.terminate()
            code = 0
        if code != 0:
            raise _death(self._child, stage)
        return max(0.0, (self._child.cpu_s or 0.0) - self._counted_s)

    def _hear(self, stage: str, on_event: Callable[[Event], None]) -> Event:
        for line in self._lines:
            event = _parse(line, stage)
            match event["event"]:
                case "done":
                    return event
                case "error":
                    raise error_from(event)
                case _:
                    on_event(event)
        self._child.wait(timeout_s=_END_S)
        raise _death(self._child, stage)


@contextmanager
def _own_environment() -> Iterator[tuple[Path, Mapping[str, str]]]:
    """Yield a worker's own folder, and its environment.

    Toolkits look for files that they could mean in the current folder, and leave temporary ones:
    they do so in this one, which goes with the worker.
    """
    with ScratchFolder("worker") as scratch:
        package = str(Path(__file__).parents[2])
        yield scratch, {**_ENVIRONMENT, "PYTHONPATH": package, "TMPDIR": str(scratch)}


def _parse(line: str, stage: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            return event
    except ValueError:
        pass
    raise ExportError(
        f"{stage}: the worker wrote what is not its protocol: {line[:80]!r}.",
        hint="Please report it: something prints where only edgegen may.",
    )


def error_fields(error: EdgegenError) -> dict[str, str]:
    """Return the fields of the `error` event that stands for an error."""
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def missing_toolkit(error: ImportError, extra: str) -> MissingDependencyError:
    """Return what a toolkit that cannot be imported is to the user; `extra` of edgegen has it."""
    return MissingDependencyError(
        f"A toolkit is missing: {error}.", hint=f"Run: pip install 'edgegen[{extra}]'"
    )


def out_of_memory(error: MemoryError) -> OutOfMemoryError:
    """Return what a toolkit's MemoryError is to the user."""
    return OutOfMemoryError(f"Memory ran out: {error}.", hint=_MEMORY_HINT)


def error_from(event: Event) -> EdgegenError:
    """Return the error that an `error` event stands for; one of an unknown kind is the base."""
    kind = getattr(errors, str(event.get("kind")), EdgegenError)
    if not (isinstance(kind, type) and issubclass(kind, EdgegenError)):
        kind = EdgegenError
    return kind(str(event.get("message")), hint=str(event.get("hint", "")))


def _death(child: Child, stage: str) -> EdgegenError:
    tail = child.log_tail()
    message = f"{stage}: the worker {child.describe_exit()}."
    if child.returncode == -9:
        return OutOfMemoryError(message, hint=_MEMORY_HINT)
    return ExportError(message, hint=f"The end of its log: {tail}" if tail else "It left no log.")
