"""What pictures miss of each unit and of each block of a denoiser: a table of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.package import GoldenCase, StageCost
from edgegen.networks.pruned import Block, Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a network is made of: its parameters' shapes, and what can be cut of it, by path."""

    parameters: Mapping[str, tuple[int, ...]]
    layers: Mapping[str, Layer]
    blocks: Mapping[str, Block]

    @property
    def numbers(self) -> int:
        """Return how many weights it has."""
        return sum(math.prod(shape) for shape in self.parameters.values())

    def unit_numbers(self, path: str) -> int:
        """Return how many weights a unit of a layer takes."""
        layer = self.layers[path]
        sizes = (math.prod(self.parameters[it.parameter]) for it in layer.slices)
        return sum(sizes) // layer.units

    def block_numbers(self, path: str) -> int:
        """Return how many weights go with a block; its shortcut stays."""
        left = self.blocks[path].left
        return sum(
            math.prod(shape)
            for name, shape in self.parameters.items()
            if name.startswith(f"{path}.") and name not in left
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What pictures lose without each unit of each layer, and without each block.

    A loss is the expected mean squared error of a picture whose values are in 0…1, to first order,
    as in `core/sensitivity.py`. `weights_sha256` is the model's, `cases` are the trajectories that
    were drawn, `cost` is what that took.
    """

    model: str
    weights_sha256: str
    component: str
    structure: Structure
    units: Mapping[str, tuple[float, ...]]
    blocks: Mapping[str, float]
    cases: tuple[GoldenCase, ...]
    cost: StageCost
