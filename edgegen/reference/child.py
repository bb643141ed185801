"""The reference's own process, so that torch and its memory are gone when it ends.

Its events are `total` (`steps`), and `step` (`text`) for each step that is done.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.worker import Emit, Event, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent wants: the probes and the run of `case`, written to `destination`.

    `latent_height` and `latent_width` are those of the probes, `picture_batch` the samples of a
    probe of the autoencoder.
    """

    spec: PipelineSpec
    folder: str
    destination: str
    case: GoldenCase
    latent_height: int
    latent_width: int
    picture_batch: int


def _run(job: Job, emit: Emit) -> Event:
    import torch

    from edgegen.reference import golden, probes
    from edgegen.reference.pipeline import load_reference
    from edgegen.reference.trajectory import run_case, to_numpy

    spec, destination = job.spec, Path(job.destination)
    emit("total", steps=len(spec.components) + job.case.steps + 1)
    reference = load_reference(spec, Path(job.folder))
    size = probes.ProbeSize(
        latent_height=job.latent_height,
        latent_width=job.latent_width,
        picture_batch=job.picture_batch,
    )
    with torch.inference_mode(), reference.weights:
        for component in spec.components:
            inputs = probes.make_inputs(reference, spec, component, size)
            outputs = probes.compute(reference, component, inputs)
            for name, value in inputs.items():
                file_name = golden.input_name(component.name, name)
                golden.write_array(destination, file_name, to_numpy(value))
            for name, value in outputs.items():
                file_name = golden.output_name(component.name, name)
                golden.write_array(destination, file_name, to_numpy(value))
            emit("step", text=f"probe of {component.name}")
        run_case(
            reference,
            spec,
            job.case,
            destination,
            on_step=lambda index: emit("step", text=f"denoising, step {index}"),
        )
    emit("step", text="image")
    return {"peak_weight_bytes": reference.weights.peak_bytes}


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
