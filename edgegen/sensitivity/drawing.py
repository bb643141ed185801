"""Draws a pipeline's pictures, and follows each back to the weights that it was drawn with.

Imported in the measuring processes only, and therefore imports torch at the top.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from edgegen.core.model import Component, PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.networks import part_of
from edgegen.reference.pipeline import Reference
from edgegen.reference.sde import seed_noise
from edgegen.reference.start_pictures import write_start_pictures
from edgegen.reference.trajectory import case_arguments, watched_steps
from edgegen.sensitivity.gradients import DifferentiableWeights, Wanted, blocks_of


class Drawing:
    """Draws cases, and projects what comes out on random signs: the gradient's beginning.

    `wanted` are the parameters whose gradients are written; default: all with two axes or more, the
    encoder's as well. With `wanted` the first `wholly` trajectories have all parameters written.
    """

    def __init__(
        self,
        spec: PipelineSpec,
        reference: Reference,
        weights: DifferentiableWeights,
        folder: Path,
        wanted: Wanted | None = None,
        wholly: int = 0,
    ) -> None:
        self.values = 0
        self._wanted = wanted
        self._wholly = wholly
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
            if component.role in ("denoiser", "decoder") and not weights.keep_small():
                for block in blocks_of(module):
                    weights.checkpointed(block)

    def differentiate(self, case: GoldenCase, number: int, told: Callable[[str], None]) -> None:
        """Write the gradients of one trajectory."""
        folder = self._folder / str(number)
        folder.mkdir()
        write_start_pictures(self._spec, folder, width=case.width, height=case.height)
        arguments = case_arguments(self._spec, case, folder)
        pipeline = self._reference.pipeline
        seed_noise(pipeline.scheduler, [case.seed])
        draw = inspect.unwrap(type(pipeline).__call__)  # without torch.no_grad
        latents: list[torch.Tensor] = []

        def see(step: int, value: torch.Tensor) -> None:
            latents[:] = [value]
            told(f"trajectory {number + 1}, step {step + 1}")

        self._drawn.clear()
        is_whole = self._wanted is None or number < self._wholly
        wanted = self._wanted if self._wanted is not None and not is_whole else _everything
        with self._weights.recorded(folder, wanted, with_vectors=self._wanted is not None):
            with self._weights.differentiated(), watched_steps(pipeline, see):
                draw(pipeline, **arguments)
                picture = (self._drawn or latents)[-1]
                projected = self._projected(picture, case.seed)
            told(f"trajectory {number + 1}, gradients")
            projected.backward()
        if is_whole and self._spec.facts.starts[0] == "noise":
            for component in self._spec.components:
                if component.role == "encoder":
                    self._differentiate_encoder(component, picture.detach(), folder, case.seed)

    def _differentiate_encoder(
        self, encoder: Component, picture: torch.Tensor, folder: Path, seed: int
    ) -> None:
        """Write the gradients of an encoder that draws nothing: of a picture there and back."""
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
        levels = (picture / 2 + 0.5).clamp(0, 1)
        self.values = levels.numel()
        chance = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, levels.shape, generator=chance) * 2 - 1
        return (levels * signs).sum()


def _everything(component: str, name: str) -> bool:
    return True


def _overhear(module: Any, drawn: list[torch.Tensor]) -> None:
    """Put whatever an autoencoder decodes into a list, too."""
    plain: Callable[..., Any] = module.decode

    def decode(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        drawn.append(output[0] if isinstance(output, tuple) else output.sample)
        return output

    module.decode = decode
