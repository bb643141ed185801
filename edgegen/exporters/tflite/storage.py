"""How a TFLite file holds weights: a codec's name -> the tensor that its weights become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.exporters.tflite.graph import TensorType


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's tensors.

    `dequantize_version` is the first version of DEQUANTIZE that widens `dtype`, None for float32.
    `is_scaled` is set for integers, which have a scale for each index of an axis, and which some
    kernels take as they are.
    """

    dtype: TensorType
    dequantize_version: int | None = None
    is_scaled: bool = False


STORED: Mapping[str, Stored] = {
    "float32": Stored(dtype="float32"),
    "float16": Stored(dtype="float16", dequantize_version=3),
    "int8": Stored(dtype="int8", dequantize_version=5, is_scaled=True),
}
