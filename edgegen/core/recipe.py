"""What is done to the weights and the arithmetic of each component."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

StorageType = Literal["float32", "float16"]
ComputeType = Literal["float32", "float16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An exception for the layers that match both patterns (shell-style, `down_blocks.*`).

    A layer is named by its module path inside the component (`mid_block.attentions.0.norm`). A rule
    that matches nothing is no error: one recipe serves models with and without an autoencoder.
    """

    component: str = "*"
    layers: str = "*"
    storage: StorageType | None = None
    compute: ComputeType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The lowest PSNR, in decibels, that parity accepts in each of its layers."""

    component_psnr_db: float
    trajectory_psnr_db: float
    image_psnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How weights are stored and in what type the device computes; later rules win."""

    name: str
    description: str
    storage: StorageType
    compute: ComputeType
    tolerance: Tolerance
    rules: tuple[Rule, ...] = ()

    def storage_of(self, component: str, layer: str) -> StorageType:
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


def _matches(rule: Rule, component: str, layer: str) -> bool:
    return fnmatchcase(component, rule.component) and fnmatchcase(layer, rule.layers)
