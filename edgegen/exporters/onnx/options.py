"""What ONNX decides of a package: the operators that its graphs may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.chips import Chip, load_chip
from edgegen.core.errors import ConfigError
from edgegen.core.profile import CompilerEffort, DeviceProfile, OperatorSet, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions

SHORTEST_BLOCK = 16
"""MatMulNBits has blocks of a power of two, from this on."""

CONTEXT_BYTES = 1_500_000_000
"""What a context's weights may take. A process on the NPU addresses 3.75 GB
(https://github.com/powerserve-project/PowerServe/issues/6), which contexts and activations share,
and the compiler takes 4.8 times the weights of the context that it makes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOptions(TargetOptions):
    """`operators` says whether a graph may use ONNX Runtime's own `com.microsoft` operators.

    `accuracy_level` is that of MatMulNBits: with 4 it multiplies in 8 bits, else in 32. With
    `lora_as_input` a layer takes a LoRA's two matrices as inputs, which may be left out. A graph is
    compiled for the NPU of each of `chips`, in contexts whose weights take at most `context_bytes`,
    with so much `effort` of the compiler, and with `allow_processor` may leave nodes to the
    processor.
    """

    operators: OperatorSet = "contrib"
    accuracy_level: Literal[0, 1, 4] = 0
    lora_as_input: bool = False
    chips: tuple[Chip, ...] = ()
    context_bytes: int = CONTEXT_BYTES
    allow_processor: bool = False
    effort: CompilerEffort = 3


def resolve(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> OnnxOptions:
    """Return ONNX's options for a runtime.

    Raises ConfigError for weights in blocks where the runtime has no contributed operators, for
    blocks of a size that MatMulNBits does not have, for LoRAs as inputs beside fixed shapes, and
    for a chip that is unknown or computes no floats.
    """
    if runtime.lora_as_input and runtime.shapes == "fixed":
        raise ConfigError(
            "With fixed shapes a graph takes no LoRA at run time: its rank is an open axis.",
            hint="Leave --lora-as-input out and add the LoRA to the weights with --lora, or take "
            "a profile whose shapes are dynamic.",
        )
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
    chips = tuple(map(load_chip, runtime.chips))
    for chip in (it for it in chips if not it.float16):
        raise ConfigError(
            f"The NPU of {chip.title} computes integers only, and every recipe leaves norms, "
            "softmaxes and the autoencoder in floats.",
            hint="Package for the processor, without --npu, or for another chip.",
        )
    return OnnxOptions(
        operators=runtime.operators,
        accuracy_level=runtime.accuracy_level,
        lora_as_input=runtime.lora_as_input,
        chips=chips,
        context_bytes=runtime.file_limit_bytes or CONTEXT_BYTES,
        allow_processor=runtime.allow_processor,
        effort=runtime.effort,
    )
