"""Measures what pictures miss of a denoiser, in a process of its own.

Its events are `step` (`text`) and `run` for each trajectory that is done.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.codec import dump_json
from edgegen.core.files import write_atomic
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.scratch import ScratchFolder
from edgegen.core.sensitivity import Losses
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.pruning.scores import Structure

if TYPE_CHECKING:
    import torch

    from edgegen.sensitivity.gradients import DifferentiableWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the parent wants: scores on the trajectories `cases`, written to `destination`.

    Of the first `sensitivity_cases` the losses of all layers in fewer bits are found as well.
    """

    spec: PipelineSpec
    source: SourceSpec
    destination: str
    cases: tuple[GoldenCase, ...]
    sensitivity_cases: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the process found; `sensitivity` is empty where it wasn't wanted."""

    structure: Structure
    units: Mapping[str, tuple[float, ...]]
    blocks: Mapping[str, float]
    sensitivity: Losses


def _run(job: Job, emit: Emit) -> Event:
    from edgegen.reference.case import denoiser
    from edgegen.reference.narrowing import blocks_of, layers_of
    from edgegen.reference.pipeline import load_reference
    from edgegen.sensitivity.drawing import Drawing
    from edgegen.sensitivity.gradients import DifferentiableWeights
    from edgegen.sensitivity.table import table_of

    weights = DifferentiableWeights()
    reference = load_reference(job.spec, open_source(job.source), weights)
    weights.keep_small()
    component = denoiser(job.spec).folder
    network = reference.modules[component]
    layers, blocks = layers_of(network), blocks_of(network)
    followed = {layer.out for layer in layers.values()}
    followed |= {end for block in blocks.values() for end in block.ends}

    def wanted(folder: str, name: str) -> bool:
        return folder == component and name in followed

    with ScratchFolder("pruning") as scratch:
        wholly = job.sensitivity_cases
        drawing = Drawing(job.spec, reference, weights, scratch, wanted, wholly)
        for number, case in enumerate(job.cases):
            drawing.differentiate(case, number, lambda text: emit("step", text=text))
            emit("run")
        folders = [scratch / str(number) for number in range(len(job.cases))]
        moved = _Moved(weights, network, component, folders, drawing.values)
        losses: Losses = {}
        if wholly:
            whole = folders[:wholly]
            losses = table_of(job.spec, reference, weights, whole, drawing.values, emit)
        found = Found(
            structure=Structure(
                parameters={name: tuple(it.shape) for name, it in network.named_parameters()},
                layers=layers,
                blocks=blocks,
            ),
            units={path: moved.by_units(it.out, it.units) for path, it in layers.items()},
            blocks={path: moved.by(it.ends) for path, it in blocks.items()},
            sensitivity=losses,
        )
    write_atomic(Path(job.destination), dump_json(found))
    return {"peak_weight_bytes": weights.peak_bytes}


class _Moved:
    """How far pictures move, to first order, where parameters become zero."""

    def __init__(
        self,
        weights: DifferentiableWeights,
        network: torch.nn.Module,
        component: str,
        folders: Sequence[Path],
        values: int,
    ) -> None:
        self._weights = weights
        self._network = network
        self._component = component
        self._folders = folders
        self._values = values

    def by_units(self, name: str, units: int) -> tuple[float, ...]:
        """Return the loss of each unit of a layer: without its columns of a weight.

        As of what few bits do, errors of different output channels are taken as independent.
        """
        import numpy as np

        total = np.zeros(units)
        for folder in self._folders:
            products = self._products(folder, name)
            if products is None:
                continue
            rows = products.shape[0]
            by_unit = products.reshape(rows, units, -1).sum(2, dtype=np.float64)
            total += np.square(by_unit).sum(0)
        return tuple(float(it) for it in total / len(self._folders) / self._values)

    def by(self, names: Sequence[str]) -> float:
        """Return the loss of a block: without all that it adds."""
        import numpy as np

        total = 0.0
        for folder in self._folders:
            products = [it for name in names if (it := self._products(folder, name)) is not None]
            total += sum(float(it.sum(dtype=np.float64)) for it in products) ** 2
        return total / len(self._folders) / self._values

    def _products(self, folder: Path, name: str) -> Any:
        """Return gradient times weight; None of a weight that nothing used."""
        import numpy as np

        from edgegen.sensitivity.gradients import gradient_path

        path = gradient_path(folder, self._component, name)
        if not path.is_file():
            return None
        weight: Any = self._weights.read(self._network.get_parameter(name))
        return np.load(path, mmap_mode="r") * weight


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
