"""Calibrates a model's activations in a process of its own; torch is never imported here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.calibration import Calibration
from edgegen.core.codec import load_json
from edgegen.core.files import translate_disk_errors
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.units import format_bytes
from edgegen.core.worker import Event, call
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.reference.calibrate_child import Job
from edgegen.reference.calibration_cases import plan_calibration
from edgegen.reference.case import predict_memory_bytes

STAGE = "calibration"
WORKER = "edgegen.reference.calibrate_child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """A calibration, the file `path` that holds it, and what it cost.

    `cases` are the trajectories that it was measured on, `peak_weight_bytes` the most weights, as
    float32, that were in memory at once.
    """

    path: Path
    calibration: Calibration
    cases: tuple[GoldenCase, ...]
    cost: StageCost
    peak_weight_bytes: int


def make_calibration(
    spec: PipelineSpec,
    source: SourceSpec,
    destination: Path,
    *,
    components: Collection[str] | None = None,
    full: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
) -> Calibrated:
    """Run a pipeline in torch on a few trajectories, and write all layers' ranges to a file.

    `source` is the pipeline's, `destination` the file, which `core.codec.load_json(Calibration, …)`
    reads; with `full` the trajectories have the model's native size. All linear and convolutional
    layers are in it that the pipeline runs, of the `components` with these names, by default of all
    of `spec.components`. The standard error of the process goes to `log`.

    Raises SourceError where the model cannot be built or computes what is not finite,
    MissingDependencyError without torch, ResourceError where memory or disk ran out, and
    ExportError where the process died.
    """
    cases = plan_calibration(spec, open_source(source).configs, full=full)
    with translate_disk_errors(destination.parent):
        destination.parent.mkdir(parents=True, exist_ok=True)
    job = Job(
        spec=spec,
        source=source,
        destination=str(destination.absolute()),
        cases=cases,
        components=tuple(
            it.name for it in spec.components if components is None or it.name in components
        ),
    )
    expected_bytes = predict_memory_bytes(spec, cases[0])
    shown = progress or SilentProgress()
    with shown.step("calibration in torch", total=len(cases), unit="images") as step:
        step.describe(f"about {format_bytes(expected_bytes)} of memory")

        def on_event(event: Event) -> None:
            if event["event"] == "run":
                step.advance()
            elif event["event"] == "step":
                step.describe(str(event["text"]))

        finished = call(WORKER, job, stage=STAGE, on_event=on_event, log=log)
    return Calibrated(
        path=destination,
        calibration=load_json(Calibration, destination),
        cases=cases,
        cost=finished.cost,
        peak_weight_bytes=int(finished.done["peak_weight_bytes"]),
    )
