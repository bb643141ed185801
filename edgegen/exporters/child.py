"""The exporter's own process: imports the toolkits once, and forks for each component.

A component's memory is given back with its process, and its crash ends nothing else. Importing
torch and diffusers takes as long as tracing a small network, so it is done once, before the forks;
no thread of a toolkit runs yet. Its events are `component` (`name`), `step` (`name`,
`total_bytes`), `bytes` (`done`), `warning` (`text`), and `converted` (`name`, `cpu_s`, `result`).
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from edgegen.core.codec import encode
from edgegen.core.errors import EdgegenError, ExportError, ResourceError
from edgegen.core.fork import run_forked
from edgegen.core.process import describe_exit
from edgegen.core.worker import Emit, Event, error_fields, error_from, out_of_memory, serve
from edgegen.exporters.base import Exporter, ExportJob, ExportJobs, load_exporter

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


def _work(batch: ExportJobs, emit: Emit) -> Event:
    exporter = load_exporter(batch.jobs[0].target)
    exporter.prepare()
    for job in batch.jobs:
        name = job.component.name
        emit("component", name=name)
        outcome, cpu_s = _in_fork(exporter, job, emit)
        emit("converted", name=name, cpu_s=cpu_s, result=outcome)
    return {}


def _in_fork(exporter: Exporter, job: ExportJob, emit: Emit) -> tuple[Any, float]:
    """Convert a component in a process of its own; return its result and processor seconds.

    Raises what the exporter raised, ResourceError where the system killed the process, and
    ExportError where it died otherwise.
    """
    forked = run_forked(lambda: _outcome(exporter, job, emit))
    if forked.text:
        outcome = json.loads(forked.text)
        if "error" in outcome:
            raise error_from(outcome["error"])
        return outcome["result"], forked.cpu_s
    message = f"{job.component.name}: the exporter's process {describe_exit(forked.returncode)}."
    if forked.returncode == -signal.SIGKILL:
        raise ResourceError(message, hint="Close other programs, or take a larger machine.")
    raise ExportError(message, hint="The worker's log says more; please report it.")


def _outcome(exporter: Exporter, job: ExportJob, emit: Emit) -> str:
    try:
        return json.dumps({"result": encode(exporter.export(job, EventProgress(emit)))})
    except EdgegenError as error:
        fields = error_fields(error)
    except MemoryError as error:
        fields = error_fields(out_of_memory(error))
    return json.dumps({"error": fields})


if __name__ == "__main__":
    sys.exit(serve(ExportJobs, _work, extra=lambda batch: batch.jobs[0].target))
