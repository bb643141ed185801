"""What is done to the weights and the arithmetic of each component."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

ComputeType = Literal["float32", "float16"]
ActivationType = Literal["float", "dynamic-int8", "int8", "int16"]
"""What a layer with int8 weights multiplies them with: numbers in the compute type, or integers
whose range is found for each input (dynamic) or was calibrated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An exception for the layers that match both patterns (shell-style, `down_blocks.*`).

    A layer is named by its module path inside the component (`mid_block.attentions.0.norm`). A rule
    that matches nothing is no error: one recipe serves models with and without an autoencoder.
    """

    component: str = "*"
    layers: str = "*"
    storage: str | None = None
    compute: ComputeType | None = None
    activations: ActivationType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The lowest PSNR, in decibels, that parity accepts in each of its layers."""

    component_psnr_db: float
    trajectory_psnr_db: float
    image_psnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How weights are stored and in what type the device computes; later rules win.

    A `storage` names a codec, of those that the target lists: `load_recipe` looks.
    `palette_channels` is how many output channels share a palette; None is all of a tensor.
    """

    name: str
    description: str
    storage: str
    compute: ComputeType
    tolerance: Tolerance
    activations: ActivationType = "float"
    palette_channels: int | None = None
    rules: tuple[Rule, ...] = ()

    @property
    def storages(self) -> frozenset[str]:
        """Return every type in which it may store weights."""
        return frozenset({self.storage, *(rule.storage for rule in self.rules if rule.storage)})

    @property
    def needs_calibration(self) -> bool:
        """Say whether a layer's activations have ranges that have to be measured first."""
        kinds = {self.activations, *(rule.activations for rule in self.rules)}
        return bool(kinds & {"int8", "int16"})

    def storage_of(self, component: str, layer: str) -> str:
        """Return the type in which a layer's weights are stored."""
        for rule in reversed(self.rules):
            if rule.storage is not None and _matches(rule, component, layer):
                return rule.storage
        return self.storage

    def compute_of(self, component: str, layer: str) -> ComputeType:
        """Return the type in which a layer computes."""
        for rule in reversed(self.rules):
            if rule.compute is not None and _matches(rule, component, layer):
                return rule.compute
        return self.compute

    def activations_of(self, component: str, layer: str) -> ActivationType:
        """Return what a layer with int8 weights multiplies them with."""
        for rule in reversed(self.rules):
            if rule.activations is not None and _matches(rule, component, layer):
                return rule.activations
        return self.activations


def _matches(rule: Rule, component: str, layer: str) -> bool:
    return fnmatchcase(component, rule.component) and fnmatchcase(layer, rule.layers)
