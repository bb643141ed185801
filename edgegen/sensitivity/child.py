"""Measures a model's sensitivity in a process of its own, so that torch's memory goes with it.

Its events are `step` (`text`) and `run` for each trajectory that is done.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import dump_json
from edgegen.core.files import write_atomic
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.scratch import ScratchFolder
from edgegen.core.sensitivity import Losses
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent wants: losses on the trajectories `cases`, written to `destination`."""

    spec: PipelineSpec
    source: SourceSpec
    destination: str
    cases: tuple[GoldenCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the process found, by component and layer."""

    components: Losses


def _run(job: Job, emit: Emit) -> Event:
    from edgegen.reference.pipeline import load_reference
    from edgegen.sensitivity.drawing import Drawing
    from edgegen.sensitivity.gradients import DifferentiableWeights
    from edgegen.sensitivity.table import table_of

    weights = DifferentiableWeights()
    reference = load_reference(job.spec, open_source(job.source), weights)
    weights.keep_small()
    with ScratchFolder("sensitivity") as scratch:
        drawing = Drawing(job.spec, reference, weights, scratch)
        for number, case in enumerate(job.cases):
            drawing.differentiate(case, number, lambda text: emit("step", text=text))
            emit("run")
        folders = [scratch / str(number) for number in range(len(job.cases))]
        table = table_of(job.spec, reference, weights, folders, drawing.values, emit)
    write_atomic(Path(job.destination), dump_json(Measured(components=table)))
    return {"peak_weight_bytes": weights.peak_bytes}


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
