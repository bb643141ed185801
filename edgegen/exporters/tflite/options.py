"""What TFLite decides of a package: whether its kernels multiply as a recipe asks."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions
from edgegen.exporters.tflite.storage import STORED

KERNEL_BLOCK = 32
"""XNNPACK multiplies with blocks whose length is a multiple of this; LiteRT's own kernel for any
others takes thousands of times as long (docs/decisions/0067-4-bits-in-tflite.md)."""


PART_BYTES = (1 << 31) - (32 << 20)
"""Data of one file: below 2 GiB, with room for the graph of the largest model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteOptions(TargetOptions):
    """The data of one file takes at most `part_bytes`: a larger graph is cut."""

    part_bytes: int = PART_BYTES


def resolve(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> TfliteOptions:
    """Return TFLite's options.

    Raises ConfigError for a recipe whose weights of 4 bits no kernel would take, or none that is
    fast.
    """
    few = sorted(it for it in recipe.storages if STORED[it].otherwise is not None)
    if few and "dynamic-int8" not in recipe.activation_types:
        raise ConfigError(
            f"The recipe '{recipe.name}' stores weights as {few[0]}, which {target.title} "
            "multiplies with activations that are quantized as they come, and with no others.",
            hint='Set activations = "dynamic-int8" in the recipe, or choose another storage.',
        )
    if few and recipe.block is not None and recipe.block % KERNEL_BLOCK:
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for blocks of {recipe.block}, and {target.title} is "
            f"fast with multiples of {KERNEL_BLOCK} alone.",
            hint=f"Set block = {KERNEL_BLOCK}: the finest, and the nearest to the model.",
        )
    return TfliteOptions(part_bytes=min(runtime.file_limit_bytes or PART_BYTES, PART_BYTES))
