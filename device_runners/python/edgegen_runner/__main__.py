"""The runner's process: a job on standard input, events on standard output.

With arguments it is a command line; see `command_line`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .backends import Backend
    from .events import Emit
    from .job import DescribeJob, PartJob
    from .runtimes import Runtime

_STARTED = time.perf_counter()

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything can import onnxruntime
# Its threads spin while numpy is imported, and the runner multiplies next to nothing with it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main(besides: Sequence[Runtime] = ()) -> int:
    """Run the process to its end and return the exit code.

    `besides` are runtimes that are not in the table: those that only a host has.
    """
    if sys.argv[1:2] == ["--watched"]:
        from .watched import main as watched

        return watched(sys.argv[2:])
    if sys.argv[1:] == ["--schedule"]:
        from .schedule import main as schedule

        return schedule()
    if sys.argv[1:2] == ["--for"] and len(sys.argv) in (3, 5):
        _import_for(sys.argv[2], sys.argv[3:], besides)
    elif len(sys.argv) > 1:
        from .command_line import main as by_hand

        return by_hand(sys.argv[1:])
    from .protocol import EventWriter, read_job_line, watch_host

    try:
        line = read_job_line()
    except (EOFError, ValueError) as error:
        sys.stderr.write(f"{error} Try --help.\n")
        return 2
    emit = EventWriter()
    finished = False
    watch_host(lambda: finished)
    # What nobody expected is told to the host too, with its traceback in the log.
    from .errors import RunnerFailure

    try:
        _run(line, emit, besides)
        finished = True
        emit("done")
        return 0
    except RunnerFailure as failure:
        finished = True
        emit("error", kind=failure.kind, message=failure.message, hint=failure.hint)
    except MemoryError:
        finished = True
        hint = "Use residency 'sequential', memory 'lean', or a smaller image."
        emit("error", kind="memory", message="Memory ran out.", hint=hint)
    except Exception as error:  # the boundary of the process
        import traceback

        traceback.print_exc()
        finished = True
        text = f"{type(error).__name__}: {error}"
        hint = "This is a defect of the runner; its traceback is in the log."
        emit("error", kind="internal", message=text, hint=hint)
    return 1


def _import_for(name: str, drawn: Sequence[str], besides: Sequence[Runtime]) -> None:
    """Import what a job for a runtime takes, while the host makes the job.

    `drawn` may be the family and the scheduler's class of what is drawn.
    Whatever goes wrong does so again when the job has come, and is told then.
    """
    import gc
    from importlib import import_module

    gc.disable()  # what is imported stays
    from .runtimes import RUNTIMES

    wanted = [each.backend for each in (*RUNTIMES, *besides) if each.name == name]
    modules = (*wanted, "edgegen_runner.session", "edgegen_runner.machine")
    for module in modules:
        with contextlib.suppress(Exception):
            import_module(module.partition(":")[0])
    if drawn:
        with contextlib.suppress(Exception):
            _import_pipeline(*drawn)
    gc.freeze()
    gc.enable()


def _import_pipeline(family: str, scheduler: str) -> None:
    from importlib import import_module

    from .pipelines import scheduler_rules
    from .schedulers import SCHEDULERS
    from .tokenizers import clip

    assert clip
    scheduler_rules(family)
    import_module(f".schedulers.{SCHEDULERS[scheduler].partition(':')[0]}", __package__)


def _run(line: bytes, emit: object, besides: Sequence[Runtime]) -> None:
    from .backends import open_backend
    from .job import SeriesJob, parse_job
    from .protocol import EventWriter
    from .runtimes import RUNTIMES

    assert isinstance(emit, EventWriter)
    job = parse_job(line)
    backend = open_backend(job.backend, (*RUNTIMES, *besides))
    from .machine import hello

    emit("hello", **hello(backend, _STARTED))
    if not isinstance(job, SeriesJob):
        _do(job, backend, emit, is_last=True)
        return
    from .kept import KeepingBackend

    keeping = KeepingBackend(backend)
    try:
        for index, part in enumerate(job.jobs):
            _do(part, keeping, emit)
            emit("part", index=index, cpu_s=time.process_time())
    finally:
        keeping.close()


def _do(job: PartJob | DescribeJob, backend: Backend, emit: Emit, *, is_last: bool = False) -> None:
    from .job import DescribeJob, GenerateJob, GoldenJob

    if isinstance(job, GenerateJob):
        from .session import generate

        generate(job, backend, emit, is_last=is_last)
    elif isinstance(job, GoldenJob):
        from .golden import check

        check(job, backend, emit)
    elif isinstance(job, DescribeJob):
        from .sensors.readers import find_sensors, take_sample

        emit("sample", **take_sample(find_sensors()))
    else:
        from .probe import probe

        probe(job, backend, emit)


def end(code: int) -> NoReturn:
    """End the process at once: what is left in memory is the system's to take."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main())
