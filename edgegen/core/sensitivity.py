"""What storing a layer's weights in fewer bits does to pictures: a table of a model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgegen.core.package import GoldenCase, StageCost

_HALF_BITS = 16
_LEAST = 1e-15
"""A loss below it is none: torch computes in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSensitivity:
    """A layer, and what each type of storage costs if it alone is stored so.

    `shapes` are those of its weights that may be stored in fewer bits. `losses` maps a type of
    storage to the expected mean squared error of a picture whose values are in 0…1, to first order.
    """

    shapes: tuple[tuple[int, ...], ...]
    losses: Mapping[str, float]

    @property
    def numbers(self) -> int:
        """Return how many weights it has."""
        return sum(math.prod(shape) for shape in self.shapes)


Losses = Mapping[str, Mapping[str, LayerSensitivity]]
"""Layers by component and module path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The layers of a model by component and module path, for every type of storage.

    It doesn't depend on a target. `bits` are those of a weight in each storage, without scales and
    palettes. `weights_sha256` is the model's, `cases` are the trajectories that it was measured on,
    `cost` is what measuring took.
    """

    model: str
    weights_sha256: str
    cases: tuple[GoldenCase, ...]
    bits: Mapping[str, int]
    components: Losses
    cost: StageCost

    def layers(self) -> Iterator[tuple[str, str, LayerSensitivity]]:
        """Yield each layer with its component's name and its own."""
        for component, layers in self.components.items():
            for name, layer in layers.items():
                yield component, name, layer


def loss_psnr_db(loss: float) -> float | None:
    """Return the PSNR of a mean squared error of values in 0…1; None where there is no error."""
    return None if loss <= 0 else -10 * math.log10(loss)


def lossy(table: Sensitivity) -> tuple[str, ...]:
    """Return the types of storage that take fewer than 16 bits a weight, most bits first."""
    few = [name for name, bits in table.bits.items() if bits < _HALF_BITS]
    return tuple(sorted(few, key=lambda name: -table.bits[name]))


def one_for_each_size(table: Sensitivity) -> tuple[str, ...]:
    """Return of each number of bits below 16 the storage that costs least over all layers."""
    best: dict[int, tuple[float, str]] = {}
    for name in lossy(table):
        whole = sum(layer.losses[name] for _, _, layer in table.layers())
        bits = table.bits[name]
        best[bits] = min(best.get(bits, (math.inf, "")), (whole, name))
    return tuple(name for _, name in best.values())


def worst_first(
    table: Sensitivity, storages: Sequence[str]
) -> list[tuple[str, str, LayerSensitivity]]:
    """Return the layers by the mean of their losses' logarithms over `storages`, worst first."""

    def how_bad(found: tuple[str, str, LayerSensitivity]) -> float:
        losses = found[2].losses
        return sum(math.log(max(losses[name], _LEAST)) for name in storages)

    return sorted(table.layers(), key=how_bad, reverse=True)
