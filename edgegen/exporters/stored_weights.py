"""A weight as an artifact stores it: read from its safetensors, checked, permuted, retyped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Codec, Encoded, Granularity
from edgegen.core.errors import ExportError, SourceError
from edgegen.models.binding import BoundTensor
from edgegen.models.weight_source import WeightSource
from edgegen.models.weights import check_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightForm:
    """Which weight is stored, and how: its axes in the order `axes`, then in another `shape`."""

    parameter: str
    axes: tuple[int, ...] | None
    shape: tuple[int, ...]


def load_weight(
    form: WeightForm, dtype: np.dtype[Any], bound: Mapping[str, BoundTensor], weights: WeightSource
) -> NDArray[Any]:
    """Read one weight in the layout and the floating-point type that an artifact wants.

    Raises SourceError for a weight that is not finite, ExportError for one that the type cannot
    hold.
    """
    tensor = bound[form.parameter]
    array = weights.array(tensor.key, dtype)
    try:
        check_finite(tensor.key, array)
    except SourceError:
        stored = weights.array(tensor.key)
        check_finite(tensor.key, stored)
        raise ExportError(
            f"'{tensor.key}' holds {float(np.abs(stored).max()):g}, which {array.dtype} cannot.",
            hint='Give its layer `storage = "float32"` by a rule of the recipe.',
        ) from None
    array = array.reshape(tensor.shape)
    if form.axes is not None:
        array = array.transpose(form.axes)
    return np.ascontiguousarray(array, dtype=dtype).reshape(form.shape)


def encode_weight(
    form: WeightForm,
    codec: Codec,
    granularity: Granularity,
    bound: Mapping[str, BoundTensor],
    weights: WeightSource,
) -> Encoded:
    """Read one weight and compress it; raises as `load_weight` does."""
    narrow = bound[form.parameter].entry.dtype == "float16"
    as_stored = np.dtype(np.float16 if narrow else np.float32)
    return codec.encode(load_weight(form, codec.reads or as_stored, bound, weights), granularity)
