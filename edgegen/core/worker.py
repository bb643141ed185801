"""A job in a process of its own, so that its memory is given back and its crash is an error.

The worker is a module that is run with `python -m`. It gets a frozen value as one line of JSON on
its standard input, and writes JSON lines: events of its own, then `{"event": "done", …}` or
`{"event": "error", "kind": …, "message": …, "hint": …}`, where the kind names an error class. What
libraries print goes to its log. It ends when its input does, so it never outlives edgegen.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

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
from edgegen.core.process import Child
from edgegen.core.scratch import ScratchFolder
from edgegen.core.system_errors import system_error

Event = Mapping[str, Any]
Emit = Callable[..., None]
J = TypeVar("J")

_MEMORY_HINT = "Close other programs, or take a machine with more memory."
_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait by spinning take the processor from others
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A job that was done: its last event, and what it cost."""

    done: Event
    cost: StageCost


def serve(job_class: type[J], work: Callable[[J, Emit], Event], *, extra: str) -> int:
    """Do the job on standard input, in the worker; return its exit code.

    `work` takes the job and a function that emits events, and returns the fields of `done`.
    `extra` is the extra of `pip install edgegen[...]` to name where a toolkit is missing.
    """
    # Only this stream is the protocol: whatever a library prints belongs into the log.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def emit(event: str, **fields: object) -> None:
        protocol.write(json.dumps({"event": event, **fields}) + "\n")
        protocol.flush()

    def fail(error: EdgegenError) -> int:
        emit("error", **error_fields(error))
        return error.exit_code

    try:
        line = sys.stdin.readline()
        # Not as a file of somebody's: a path in it may have bytes that are no UTF-8.
        job = decode(job_class, json.loads(line), source="the job")
        threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
        emit("done", **work(job, emit))
    except EdgegenError as error:
        return fail(error)
    except ImportError as error:
        return fail(missing_toolkit(error, extra))
    except MemoryError as error:
        return fail(out_of_memory(error))
    except OSError as error:
        known = system_error(error)
        if known is None:
            raise
        return fail(known)
    return 0


def call(
    module: str,
    job: object,
    *,
    stage: str,
    on_event: Callable[[Event], None],
    log: Path | None = None,
) -> Finished:
    """Run a worker to its end; return its last event and what it cost.

    Raises the error that the worker names, ResourceError where the system killed it, and
    ExportError where it died otherwise; both show the end of its log.
    """
    arguments = [sys.executable, "-P", "-m", module]
    started_s, cpu_started_s = time.monotonic(), time.process_time()
    done: Event | None = None
    with (
        _own_environment() as (scratch, environment),
        PeakSampler() as sampler,
        Child(arguments, log=log, env=environment, cwd=scratch) as child,
    ):
        child.send(json.dumps(encode(job)))
        for line in child.lines():
            event = _parse(line, stage)
            if event["event"] == "done":
                done = event
            elif event["event"] == "error":
                raise error_from(event)
            else:
                on_event(event)
        code = child.wait(timeout_s=60)
        if done is None or code != 0:
            raise _death(child, stage)
    return Finished(
        done=done,
        cost=StageCost(
            stage=stage,
            wall_s=time.monotonic() - started_s,
            cpu_s=time.process_time() - cpu_started_s + (child.cpu_s or 0.0),
            peak_memory_bytes=sampler.peak_pss_bytes,
        ),
    )


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


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os._exit(errors.INTERRUPTED_EXIT_CODE)
