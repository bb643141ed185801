"""The exporter's own process: converts one component, then gives its memory back."""

from __future__ import annotations

import sys

from edgegen.core.codec import encode
from edgegen.core.worker import Emit, Event, serve
from edgegen.exporters.base import ExportJob, load_exporter

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

    def _flush(self) -> None:
        if self._pending_bytes:
            self._emit("bytes", done=self._pending_bytes)
            self._pending_bytes = 0


def _work(job: ExportJob, emit: Emit) -> Event:
    result = load_exporter(job.target).export(job, EventProgress(emit))
    return {"result": encode(result)}


if __name__ == "__main__":
    sys.exit(serve(ExportJob, _work, extra="onnx"))
