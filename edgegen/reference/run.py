"""Makes a golden case in a process of its own; torch is never imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgegen.core.files import translate_disk_errors
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.units import format_bytes
from edgegen.core.worker import Event, call
from edgegen.reference.case import (
    PROBE_BATCH,
    plan_case,
    predict_memory_bytes,
    probe_latent_size,
)
from edgegen.reference.child import Job

STAGE = "reference"
WORKER = "edgegen.reference.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRun:
    """A golden case that was made, and what it cost.

    `peak_weight_bytes` are the most weights, as float32, that were in memory at once.
    """

    case: GoldenCase
    cost: StageCost
    peak_weight_bytes: int


def make_golden(
    spec: PipelineSpec,
    folder: Path,
    destination: Path,
    *,
    full: bool = False,
    case: GoldenCase | None = None,
    progress: Progress | None = None,
    log: Path | None = None,
) -> GoldenRun:
    """Run a pipeline's golden case in torch, and write its files into `destination`.

    `folder` is the pipeline's; with `full` everything has the model's native size. `case` is run
    instead of the pipeline's own. The standard error of the process goes to `log`.

    Raises SourceError where the model cannot be built or computes what is not finite,
    MissingDependencyError without torch, ResourceError where memory or disk ran out, and
    ExportError where the process died.
    """
    case = case or plan_case(spec, folder, full=full, name=destination.name)
    height, width = probe_latent_size(spec, folder, full=full)
    with translate_disk_errors(destination.parent):
        destination.mkdir(parents=True, exist_ok=True)
    job = Job(
        spec=spec,
        folder=str(folder.absolute()),
        destination=str(destination.absolute()),
        case=case,
        latent_height=height,
        latent_width=width,
        # at its own size one picture takes as much memory as all the rest
        picture_batch=1 if full else PROBE_BATCH,
    )
    expected_bytes = predict_memory_bytes(spec, case)
    with (progress or SilentProgress()).step("reference in torch", unit="steps") as step:
        step.describe(f"about {format_bytes(expected_bytes)} of memory")

        def on_event(event: Event) -> None:
            if event["event"] == "total":
                step.total = event["steps"]
            elif event["event"] == "step":
                step.advance()
                step.describe(str(event["text"]))

        finished = call(WORKER, job, stage=STAGE, on_event=on_event, log=log)
    return GoldenRun(
        case=case,
        cost=finished.cost,
        peak_weight_bytes=int(finished.done["peak_weight_bytes"]),
    )
