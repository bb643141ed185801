"""Draws with a model's weights as codecs restore them: what a package computes, in float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray

from edgegen.compress.blocks import BLOCK
from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.recipe import ComponentRecipe, Recipe
from edgegen.core.target import TargetSpec
from edgegen.drawer import DrawRequest, Pixels
from edgegen.networks import part_of
from edgegen.packaging.model_facts import ModelFacts
from edgegen.reference.drawer import TorchDrawer


class RestoredWeights:
    """A drawer in torch; `store` puts a recipe's weights in the place of the model's own.

    What was restored once is kept: recipes of the same storages share it.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self._facts = facts
        self._pipeline = DiffusionPipeline.from_pretrained(facts.folder, dtype=torch.float32)
        self._drawer = TorchDrawer(self._pipeline, facts.spec.family, facts.spec.generation)
        self._whole: dict[tuple[str, str], torch.Tensor] = {}
        self._restored: dict[tuple[str, str, str, Granularity], torch.Tensor] = {}

    def draw(self, requests: Sequence[DrawRequest]) -> list[Pixels]:
        """Draw each request with the weights that are stored."""
        return self._drawer.draw(requests)

    def store(self, recipe: Recipe, target: TargetSpec) -> None:
        """Store all weights as a recipe says of a target."""
        for component in self._facts.spec.components:
            types, prefixes = recipe.of(component), part_of(component).prefixes
            module = getattr(self._pipeline, component.folder)
            for name, parameter in module.named_parameters():
                if name.startswith(prefixes):
                    key = component.folder, name
                    whole = self._whole.setdefault(key, parameter.data)
                    parameter.data = self._stored(key, whole, types, target)

    def _stored(
        self,
        key: tuple[str, str],
        whole: torch.Tensor,
        types: ComponentRecipe,
        target: TargetSpec,
    ) -> torch.Tensor:
        if whole.ndim < 2 or whole.numel() <= target.sizes.small:
            return whole
        asked = types.storage_of(key[1].rpartition(".")[0])
        storage = target.sizes.held_as(asked, tuple(whole.shape), types.block or BLOCK)
        granularity = Granularity(palette_channels=types.palette_channels, block=types.block)
        place = (*key, storage, granularity)
        if place not in self._restored:
            self._restored[place] = torch.from_numpy(restored(whole.numpy(), storage, granularity))
        return self._restored[place]


def restored(
    weight: NDArray[np.float32], storage: str, granularity: Granularity
) -> NDArray[np.float32]:
    """Return the numbers of a weight that a codec restores."""
    codec = CODECS[storage]
    given = weight if codec.reads is None else weight.astype(codec.reads)
    found: NDArray[np.float32] = codec.decode(codec.encode(given, granularity))
    return found.reshape(weight.shape)
