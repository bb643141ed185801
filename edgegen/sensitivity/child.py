"""Measures a model's sensitivity in a process of its own, so that torch's memory goes with it.

Its events are `step` (`text`) and `run` for each trajectory that is done.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.codec import dump_json
from edgegen.core.files import write_atomic
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.scratch import ScratchFolder
from edgegen.core.sensitivity import LayerSensitivity
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source

if TYPE_CHECKING:
    from edgegen.reference.pipeline import Reference
    from edgegen.sensitivity.gradients import DifferentiableWeights


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

    components: Mapping[str, Mapping[str, LayerSensitivity]]


def _run(job: Job, emit: Emit) -> Event:
    from edgegen.reference.pipeline import load_reference
    from edgegen.sensitivity.drawing import Drawing
    from edgegen.sensitivity.gradients import DifferentiableWeights

    weights = DifferentiableWeights()
    reference = load_reference(job.spec, open_source(job.source), weights)
    weights.keep_small()
    with ScratchFolder("sensitivity") as scratch:
        drawing = Drawing(job.spec, reference, weights, scratch)
        for number, case in enumerate(job.cases):
            drawing.differentiate(case, number, lambda text: emit("step", text=text))
            emit("run")
        folders = [scratch / str(number) for number in range(len(job.cases))]
        table = _table(job.spec, reference, weights, folders, drawing.values, emit)
    write_atomic(Path(job.destination), dump_json(Measured(components=table)))
    return {"peak_weight_bytes": weights.peak_bytes}


def _table(
    spec: PipelineSpec,
    reference: Reference,
    weights: DifferentiableWeights,
    gradients: Sequence[Path],
    values: int,
    emit: Emit,
) -> dict[str, dict[str, LayerSensitivity]]:
    """Return the losses of all layers with weights of two axes or more."""
    from edgegen.networks import network_of
    from edgegen.sensitivity.gradients import gradient_path
    from edgegen.sensitivity.losses import losses_of

    table: dict[str, dict[str, LayerSensitivity]] = {}
    for component in spec.components:
        module = reference.modules[component.folder]
        layers = table.setdefault(component.name, {})
        tied = network_of(component.class_name).keys.tied
        for name, stub in module.named_parameters():
            if stub.ndim < 2 or not name.startswith(component.prefixes):
                continue
            layer = name.rpartition(".")[0]
            files = [gradient_path(folder, component.folder, name) for folder in gradients]
            if name in tied and not any(file.is_file() for file in files):
                continue  # used under its twin's name
            emit("step", text=f"{component.name}, {layer}")
            losses = losses_of(weights.read(stub), files, values=values)
            known = layers.get(layer)
            layers[layer] = LayerSensitivity(
                shapes=(*(known.shapes if known else ()), tuple(stub.shape)),
                losses={
                    storage: loss + (known.losses[storage] if known else 0.0)
                    for storage, loss in losses.items()
                },
            )
    return table


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
