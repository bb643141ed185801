"""What ONNX decides of a package: the operators that its graphs may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile, OperatorSet, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions

SHORTEST_BLOCK = 16
"""MatMulNBits has blocks of a power of two, from this on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions(TargetOptions):
    """`operators` says whether a graph may use ONNX Runtime's own `com.microsoft` operators.

    `accuracy_level` is that of MatMulNBits: with 4 it multiplies in 8 bits, else in 32.
    """

    operators: OperatorSet = "contrib"
    accuracy_level: Literal[0, 1, 4] = 0


def resolve(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> OnnxOptions:
    """Return ONNX's options for a runtime.

    Raises ConfigError for weights in blocks where the runtime has no contributed operators, and
    for blocks of a size that MatMulNBits does not have.
    """
    in_blocks = sorted(recipe.storages & set(target.sizes.matrices_only))
    if in_blocks and runtime.operators == "plain":
        where = "" if profile is None else f" of the profile '{profile.name}'"
        raise ConfigError(
            f"The recipe '{recipe.name}' stores weights as {in_blocks[0]}, which only the operator "
            f"com.microsoft.MatMulNBits multiplies with, and the runtime{where} has plain "
            "operators only.",
            hint='Choose another recipe, or set operators = "contrib" in the profile.',
        )
    block = recipe.block
    if in_blocks and block is not None and (block < SHORTEST_BLOCK or block & (block - 1)):
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for blocks of {block} numbers, and {target.title} "
            f"multiplies with blocks of a power of two, from {SHORTEST_BLOCK} on.",
            hint="Set block = 32 in the recipe.",
        )
    return OnnxOptions(operators=runtime.operators, accuracy_level=runtime.accuracy_level)
