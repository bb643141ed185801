"""The reference's own process, so that torch and its memory are gone when it ends.

As a rule it is a fork of the exporter's, which has imported torch already.

Its events are `total` (`steps`), `step` (`text`) for each step that is done, and `made` (`index`,
`cpu_s` since the process began) for each golden case.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.model import Component, PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.reference.case import SMALL_MODEL_PX

if TYPE_CHECKING:
    from edgegen.reference.pipeline import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenJob:
    """A golden case: the probes of `spec`'s components and the run of `case`, to `destination`.

    `latent_height` and `latent_width` are those of the probes, `picture_batch` the samples of a
    probe of the autoencoder.
    """

    spec: PipelineSpec
    destination: str
    case: GoldenCase
    latent_height: int
    latent_width: int
    picture_batch: int
    probes: bool

    @property
    def components(self) -> tuple[Component, ...]:
        """Return the components that are probed."""
        return self.spec.components if self.probes else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenJobs:
    """The golden cases of one model, which draws with the same scheduler in all of them."""

    source: SourceSpec
    cases: tuple[GoldenJob, ...]


class _Once:
    """Computes what several golden cases have in common once, and copies its files."""

    def __init__(self) -> None:
        self._made: dict[object, tuple[Path, Sequence[str]]] = {}

    def make(self, key: object, destination: Path, make: Callable[[Path], None]) -> None:
        """Let `make` write files into an existing folder, or copy what it wrote for this key."""
        if key in self._made:
            source, names = self._made[key]
            for name in names:
                shutil.copyfile(source / name, destination / name)
            return
        before = set(destination.iterdir())
        make(destination)
        names = [path.name for path in destination.iterdir() if path not in before]
        self._made[key] = destination, names


def run(job: GoldenJobs, emit: Emit) -> Event:
    """Make golden cases; return the most weights that were in memory at once."""
    import torch

    from edgegen.reference.pipeline import load_reference

    emit("total", steps=_steps(job.cases))
    reference = load_reference(job.cases[0].spec, open_source(job.source))
    once = _Once()
    with torch.inference_mode(), reference.weights:
        for index, case in enumerate(job.cases):
            _make(reference, case, once, emit)
            emit("made", index=index, cpu_s=time.process_time())
    return {"peak_weight_bytes": reference.weights.peak_bytes}


def _steps(cases: Sequence[GoldenJob]) -> int:
    denoising = sum(case.steps for case in {it.case for it in cases})
    return denoising + sum(len(it.components) + 1 for it in cases)


def _make(reference: Reference, job: GoldenJob, once: _Once, emit: Emit) -> None:
    from edgegen.reference.trajectory import run_case

    spec, destination = job.spec, Path(job.destination)
    size = job.latent_height, job.latent_width, job.picture_batch

    def probe(components: Sequence[Component]) -> None:
        for component in components:
            make = partial(_probe, reference, job, component)
            once.make((component, size, job.case), destination, make)
            emit("step", text=f"probe of {component.name}")

    probe([it for it in job.components if it.role != "decoder"])
    if not job.probes:  # a picture, in all of the steps that the model draws in
        _prepare_for_many_steps(reference, job.case)
    once.make(
        job.case,
        destination,
        lambda place: run_case(
            reference,
            spec,
            job.case,
            place,
            on_step=lambda index: emit("step", text=f"denoising, step {index}"),
        ),
    )
    emit("step", text="image")
    probe([it for it in job.components if it.role == "decoder"])  # of what was left for them


def _prepare_for_many_steps(reference: Reference, case: GoldenCase) -> None:
    """Keep the weights of a small model, and leave its little work to one thread."""
    import torch

    is_small = reference.weights.keep_small()
    if is_small and max(case.width, case.height) <= SMALL_MODEL_PX:
        torch.set_num_threads(1)


def _probe(reference: Reference, job: GoldenJob, component: Component, destination: Path) -> None:
    from edgegen.reference import golden, probes
    from edgegen.reference.trajectory import to_numpy

    size = probes.ProbeSize(
        latent_height=job.latent_height,
        latent_width=job.latent_width,
        picture_batch=job.picture_batch,
        latent_deviation=_left_deviation(job, destination) if component.role == "decoder" else 1.0,
    )
    inputs = probes.make_inputs(reference, job.spec, component, size)
    outputs = probes.compute(reference, component, inputs)
    for name, value in inputs.items():
        golden.write_array(destination, golden.input_name(component.name, name), to_numpy(value))
    for name, value in outputs.items():
        golden.write_array(destination, golden.output_name(component.name, name), to_numpy(value))


def _left_deviation(job: GoldenJob, destination: Path) -> float:
    """Return how wide the latents are after the last step of the case."""
    from edgegen.reference import golden

    last = golden.trajectory_name(golden.count_trajectory(destination) - 1)
    return float(golden.read_array(destination, last).std())


if __name__ == "__main__":
    sys.exit(serve(GoldenJobs, run, extra="reference"))
