"""Converts a component in a child process, with progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import decode
from edgegen.core.package import StageCost
from edgegen.core.progress import Progress
from edgegen.core.worker import Event, call
from edgegen.exporters.base import ExportJob, ExportResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """A component that was converted, and what that cost."""

    result: ExportResult
    cost: StageCost


def convert(job: ExportJob, *, progress: Progress, total_bytes: int, log: Path) -> Converted:
    """Convert one component in a process of its own.

    `total_bytes` is what the weights will take, for the progress bar; the worker corrects it.
    Raises what the exporter raises, and ExportError or ResourceError where it dies.
    """
    name = job.component.name
    with progress.step(name, total=total_bytes, unit="bytes") as step:

        def on_event(event: Event) -> None:
            if event["event"] == "bytes":
                step.advance(int(event["done"]))
            elif event["event"] == "step":
                step.describe(str(event["name"]))
                if event.get("total_bytes") is not None:
                    step.total = float(event["total_bytes"])

        finished = call(
            "edgegen.exporters.child", job, stage=f"convert {name}", on_event=on_event, log=log
        )
    result = decode(ExportResult, finished.done["result"], source="the exporter's result")
    return Converted(result=result, cost=finished.cost)
