"""How a TFLite file holds weights: a codec's name -> the tensor that its weights become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.compress.blocks import BLOCK
from edgegen.exporters.tflite.graph import TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's tensors.

    `dequantize_version` is the first version of DEQUANTIZE that widens `dtype`, None where nothing
    is widened. `is_scaled` is set for integers, which have a scale for each index of an axis or,
    `in_blocks`, for each run of a row, and which some kernels take as they are: with inputs that
    are quantized as they come they are the form `dynamic`. `otherwise` is how a weight is stored
    that no kernel takes in this type.
    """

    dtype: TensorType
    dequantize_version: int | None = None
    is_scaled: bool = False
    in_blocks: bool = False
    dynamic: str | None = None
    otherwise: str | None = None


STORED: Mapping[str, Stored] = {
    "float32": Stored(dtype="float32"),
    "float16": Stored(dtype="float16", dequantize_version=3),
    "int8": Stored(dtype="int8", dequantize_version=5, is_scaled=True, dynamic="dynamic-int8"),
    "int4": Stored(
        dtype="int4", is_scaled=True, in_blocks=True, dynamic="dynamic-int4", otherwise="int8"
    ),
    "int4-channel": Stored(
        dtype="int4", is_scaled=True, dynamic="dynamic-int4-channel", otherwise="int8"
    ),
}


_OF_ROWS = frozenset({"FULLY_CONNECTED", "EMBEDDING_LOOKUP"})


def has_kernel(storage: str, code: str, shape: tuple[int, ...], block: int | None) -> bool:
    """Return whether an operator takes a weight of a stored `shape` as the codec has it.

    Rows are whole blocks (`StoredSizes.held_as` predicts it so). Rows of an odd length end inside
    of a byte, which XNNPACK refuses.
    """
    kind = STORED[storage]
    if kind.otherwise is None:
        return True
    if kind.in_blocks:
        return code in _OF_ROWS and shape[-1] % (block or BLOCK) == 0
    return code == "CONV_2D" or (code in _OF_ROWS and shape[-1] % 2 == 0)
