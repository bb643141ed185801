"""The process that writes a target's companions, so that its toolkits are gone when it ends."""

from __future__ import annotations

import sys
from pathlib import Path

from edgegen.core.worker import Emit, Event, serve
from edgegen.exporters.companions import CompanionJob, load_writer


def _write(job: CompanionJob, emit: Emit) -> Event:
    writer = load_writer(job.target)
    if writer is None:
        return {"toolkits": {}}
    return {"toolkits": dict(writer.write(Path(job.package), job.text_length))}


if __name__ == "__main__":
    sys.exit(serve(CompanionJob, _write, extra="openvino"))
