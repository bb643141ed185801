"""Measures a model's sensitivity in a process of its own, so that torch's memory goes with it.

Its events are `step` (`text`) and `run` for each trajectory that is done.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.codec import dump_json
from edgegen.core.files import write_atomic
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.scratch import ScratchFolder
from edgegen.core.sensitivity import LayerSensitivity
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.pipeline_source import SourceSpec, open_source

if TYPE_CHECKING:
    import torch

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
    from edgegen.sensitivity.gradients import DifferentiableWeights

    weights = DifferentiableWeights()
    reference = load_reference(job.spec, open_source(job.source), weights)
    weights.keep_small()
    with ScratchFolder("sensitivity") as scratch:
        drawing = _Drawing(job.spec, reference, weights, scratch)
        for number, case in enumerate(job.cases):
            drawing.differentiate(case, number, emit)
            emit("run")
        folders = [scratch / str(number) for number in range(len(job.cases))]
        table = _table(job.spec, reference, weights, folders, drawing.values, emit)
    write_atomic(Path(job.destination), dump_json(Measured(components=table)))
    return {"peak_weight_bytes": weights.peak_bytes}


class _Drawing:
    """Draws cases, and projects what comes out on random signs: the gradient's beginning."""

    def __init__(
        self,
        spec: PipelineSpec,
        reference: Reference,
        weights: DifferentiableWeights,
        folder: Path,
    ) -> None:
        self.values = 0
        self._spec = spec
        self._reference = reference
        self._weights = weights
        self._folder = folder
        self._drawn: list[torch.Tensor] = []
        for component in spec.components:
            module = reference.modules[component.folder]
            if component.role == "denoiser":
                weights.checkpointed(module)
            elif component.role == "decoder":
                _overhear(module, self._drawn)

    def differentiate(self, case: GoldenCase, number: int, emit: Emit) -> None:
        """Write the gradients of one trajectory."""

        from edgegen.reference.start_pictures import write_start_pictures
        from edgegen.reference.trajectory import case_arguments, watched_steps

        folder = self._folder / str(number)
        folder.mkdir()
        write_start_pictures(self._spec.facts, folder, width=case.width, height=case.height)
        arguments = case_arguments(self._spec, case, folder)
        pipeline = self._reference.pipeline
        draw = inspect.unwrap(type(pipeline).__call__)  # without torch.no_grad
        latents: list[torch.Tensor] = []

        def see(step: int, value: torch.Tensor) -> None:
            latents[:] = [value]
            emit("step", text=f"trajectory {number + 1}, step {step + 1}")

        self._drawn.clear()
        with self._weights.recorded(folder, lambda component, name: True):
            with self._weights.differentiated(), watched_steps(pipeline, see):
                draw(pipeline, **arguments)
                picture = (self._drawn or latents)[-1]
                projected = self._projected(picture, case.seed)
            emit("step", text=f"trajectory {number + 1}, gradients")
            projected.backward()
        if self._spec.facts.starts[0] == "noise":
            for component in self._spec.components:
                if component.role == "encoder":
                    self._differentiate_encoder(component, picture.detach(), folder, case.seed)

    def _differentiate_encoder(
        self, encoder: Component, picture: torch.Tensor, folder: Path, seed: int
    ) -> None:
        """Write the gradients of an encoder that draws nothing: of a picture there and back."""
        from edgegen.networks import part_of

        decoder = next(it for it in self._spec.components if it.role == "decoder")
        module = self._reference.modules[encoder.folder]
        own = encoder.prefixes

        def wanted(component: str, name: str) -> bool:
            return component == encoder.folder and name.startswith(own)

        with self._weights.recorded(folder, wanted):
            with self._weights.differentiated():
                (moments,) = part_of(encoder).forward(module, {"sample": picture}).values()
                latents = moments[:, : self._spec.generation.latent_channels]
                (back,) = part_of(decoder).forward(module, {"latent_sample": latents}).values()
                projected = self._projected(back, seed)
            projected.backward()

    def _projected(self, picture: torch.Tensor, seed: int) -> torch.Tensor:
        """Return the sum of the values of a picture in 0…1 with random signs."""
        import torch

        levels = (picture / 2 + 0.5).clamp(0, 1)
        self.values = levels.numel()
        chance = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, levels.shape, generator=chance) * 2 - 1
        return (levels * signs).sum()


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


def _overhear(module: Any, drawn: list[torch.Tensor]) -> None:
    """Put whatever an autoencoder decodes into a list, too."""
    plain: Callable[..., Any] = module.decode

    def decode(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        drawn.append(output[0] if isinstance(output, tuple) else output.sample)
        return output

    module.decode = decode


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
