"""The exporter's own process: imports the toolkits once, and forks for each capture and artifact.

A component is traced once for all packages that take the same inputs and outputs of it, in a fork;
from there each of its artifacts is written in a fork of that. So memory is given back with each
artifact, a crash ends nothing else, and the peak is that of one artifact however many there are
(docs/decisions/0042-one-capture-many-packages.md). Importing torch and diffusers takes as long as
tracing a small network, so it is done before the forks; no thread of a toolkit runs yet.

The golden cases are made here too, in another fork, once all artifacts are written
(docs/decisions/0062-one-import-of-torch.md).

Packages are named by their place in the job. The events are `capture` (`name`, `packages`),
`captured` (`cpu_s`), `component` (`name`, `package`), `step` (`name`, `total_bytes`), `bytes`
(`done`), `warning` (`text`), `converted` (`name`, `package`, `cpu_s`, `result`) and `failed`
(`packages`, and the fields of an error): a package that failed gets no more artifacts.
"""

from __future__ import annotations

import gc
import json
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgegen.core.codec import encode
from edgegen.core.errors import EdgegenError, ExportError, OutOfMemoryError
from edgegen.core.fork import Forked, run_forked
from edgegen.core.process import describe_exit
from edgegen.core.worker import (
    Emit,
    Event,
    as_edgegen_errors,
    error_fields,
    error_from,
    missing_toolkit,
    out_of_memory,
    serve,
)
from edgegen.exporters.base import (
    ConverterJob,
    Exporter,
    ExportJob,
    ExportJobs,
    ExportResult,
    OpenedComponent,
    load_exporter,
)
from edgegen.exporters.opened import open_component
from edgegen.reference.child import GoldenJobs
from edgegen.reference.child import run as run_goldens

_REPORTED_BYTES = 4 << 20


class EventProgress:
    """Tells the parent of steps and bytes, a few times a second at most."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._pending_bytes = 0

    def step(self, name: str, total_bytes: int | None = None) -> None:
        """Begin a step."""
        self._flush()
        self._emit("step", name=name, total_bytes=total_bytes)

    def advance(self, size_bytes: int) -> None:
        """Say that so many bytes more are done."""
        self._pending_bytes += size_bytes
        if self._pending_bytes >= _REPORTED_BYTES:
            self._flush()

    def warn(self, text: str) -> None:
        """Tell the parent what the user should know."""
        self._emit("warning", text=text)

    def _flush(self) -> None:
        if self._pending_bytes:
            self._emit("bytes", done=self._pending_bytes)
            self._pending_bytes = 0


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A job, the number of the package that it belongs to, and what does it."""

    package: int
    job: ExportJob
    exporter: Exporter


def _work(job: ConverterJob, emit: Emit) -> Event:
    if job.exports is not None:
        _export_all(job.exports, emit)
    return {} if job.goldens is None else _make_goldens(job.goldens, emit)


def _make_goldens(job: GoldenJobs, emit: Emit) -> Event:
    """Run torch in a fork, which has threads of its own and gives its memory back."""

    def work() -> str:
        try:
            with as_edgegen_errors("reference"):
                return json.dumps({"result": run_goldens(job, emit)})
        except EdgegenError as error:
            return json.dumps({"error": error_fields(error)})

    forked = run_forked(work)
    if not forked.text:
        raise _death("reference", forked)
    outcome = json.loads(forked.text)
    if "error" in outcome:
        raise error_from(outcome["error"])
    made: Event = outcome["result"]
    return made


def _export_all(batch: ExportJobs, emit: Emit) -> None:
    # What is imported stays: a collection during the imports walks it in vain, a trace takes a
    # quarter longer where each collection walks it again, and a fork copies the pages that a
    # collection writes to.
    gc.disable()
    exporters = _prepare(batch, emit)
    gc.freeze()
    gc.enable()
    left = set(exporters)
    for jobs in _captures(batch, exporters):
        wanted = [it for it in jobs if it.package in left]
        if wanted:
            left -= _capture_and_export(wanted, emit)


def _prepare(batch: ExportJobs, emit: Emit) -> Mapping[int, Exporter]:
    """Import what each package's target needs; a package whose toolkit is missing has failed."""
    exporters = {}
    for package, jobs in enumerate(batch.packages):
        exporter = load_exporter(jobs[0].target)
        try:
            exporter.prepare()
        except ImportError as error:
            _fail([package], missing_toolkit(error, jobs[0].target), emit)
        else:
            exporters[package] = exporter
    return exporters


def _captures(batch: ExportJobs, exporters: Mapping[int, Exporter]) -> Iterator[list[_Placed]]:
    """Yield the jobs that share a capture: those of one component with the same axes."""
    shared: dict[tuple[object, ...], list[_Placed]] = {}
    ordered: dict[str, list[list[_Placed]]] = {}
    for package, exporter in exporters.items():
        for job in batch.packages[package]:
            key = (job.source, job.component, job.shapes)
            if key not in shared:
                shared[key] = []
                ordered.setdefault(job.component.name, []).append(shared[key])
            shared[key].append(_Placed(package=package, job=job, exporter=exporter))
    for captures in ordered.values():
        yield from captures


def _capture_and_export(jobs: Sequence[_Placed], emit: Emit) -> set[int]:
    """Trace a component and write its artifacts; return the packages that failed."""
    name, packages = jobs[0].job.component.name, [it.package for it in jobs]
    emit("capture", name=name, packages=packages)
    forked = run_forked(lambda: json.dumps(sorted(_in_capture(jobs, emit))))
    if forked.text:
        return set(json.loads(forked.text))
    return _fail(packages, _death(name, forked), emit)


def _in_capture(jobs: Sequence[_Placed], emit: Emit) -> set[int]:
    """Do what `_capture_and_export` does, in its fork."""
    import torch

    # A fork of a process in which OpenMP's threads have run waits for them for ever.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        opened = open_component(jobs[0].job, EventProgress(emit))
    except EdgegenError as error:
        return _fail([it.package for it in jobs], error, emit)
    except MemoryError as error:
        return _fail([it.package for it in jobs], out_of_memory(error), emit)
    gc.freeze()
    emit("captured", cpu_s=time.process_time())
    failed: set[int] = set()
    for placed in jobs:
        failed |= _export(placed, opened, threads, emit)
    return failed


def _export(placed: _Placed, opened: OpenedComponent, threads: int, emit: Emit) -> set[int]:
    name, package = placed.job.component.name, placed.package
    emit("component", name=name, package=package)
    forked = run_forked(lambda: _outcome(placed, opened, threads, emit))
    if not forked.text:
        return _fail([package], _death(name, forked), emit)
    outcome = json.loads(forked.text)
    if "error" in outcome:
        return _fail([package], error_from(outcome["error"]), emit)
    emit("converted", name=name, package=package, cpu_s=forked.cpu_s, result=outcome["result"])
    return set()


def _outcome(placed: _Placed, opened: OpenedComponent, threads: int, emit: Emit) -> str:
    import torch

    torch.set_num_threads(threads)
    try:
        result: ExportResult = placed.exporter.export(placed.job, opened, EventProgress(emit))
    except EdgegenError as error:
        return json.dumps({"error": error_fields(error)})
    except MemoryError as error:
        return json.dumps({"error": error_fields(out_of_memory(error))})
    return json.dumps({"result": encode(result)})


def _death(component: str, forked: Forked) -> EdgegenError:
    message = f"{component}: the exporter's process {describe_exit(forked.returncode)}."
    if forked.returncode == -signal.SIGKILL:
        return OutOfMemoryError(message, hint="Close other programs, or take a larger machine.")
    return ExportError(message, hint="The worker's log says more; please report it.")


def _fail(packages: Collection[int], error: EdgegenError, emit: Emit) -> set[int]:
    emit("failed", packages=sorted(packages), **error_fields(error))
    return set(packages)


if __name__ == "__main__":
    sys.exit(serve(ConverterJob, _work, extra="onnx"))
