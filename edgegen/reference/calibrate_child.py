"""The calibration's own process, so that torch and its memory are gone when it ends.

Its events are `step` (`text`) for each step of a trajectory, and `run` for each that is done.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import dump_json
from edgegen.core.files import write_atomic
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent wants: the ranges on the trajectories `cases`, written to `destination`.

    They are those of the `components` with these names.
    """

    spec: PipelineSpec
    source: SourceSpec
    destination: str
    cases: tuple[GoldenCase, ...]
    components: tuple[str, ...]


def _run(job: Job, emit: Emit) -> Event:
    import torch

    from edgegen.reference import golden, probes
    from edgegen.reference.calibration import Observer
    from edgegen.reference.pipeline import load_reference
    from edgegen.reference.trajectory import run_case

    reference = load_reference(job.spec, open_source(job.source))
    watched = [it for it in job.spec.components if it.name in job.components]
    encoders = [component for component in watched if component.role == "encoder"]
    observer = Observer()
    with (
        tempfile.TemporaryDirectory() as scratch,
        torch.inference_mode(),
        reference.weights,
        observer.watching(watched, reference.modules),
    ):
        for number, case in enumerate(job.cases, start=1):
            folder = Path(scratch)

            def on_step(step: int, number: int = number) -> None:
                emit("step", text=f"trajectory {number}, step {step}")

            run_case(reference, job.spec, case, folder, on_step)
            # a pipeline that starts from noise encodes nothing; what it paints, an encoder may get
            picture = torch.from_numpy(golden.read_array(folder, golden.IMAGE_NAME).copy())
            for encoder in encoders:
                probes.compute(reference, encoder, {"sample": picture})
            emit("run")
    write_atomic(Path(job.destination), dump_json(observer.calibration()))
    return {"peak_weight_bytes": reference.weights.peak_bytes}


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
