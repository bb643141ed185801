"""Numbers of 8 bits, as diffusers upcasts them (arXiv 2209.05433).

| type | exponent | mantissa | bias | largest | special |
|---|---|---|---|---|---|
| E4M3 | 4 bits | 3 bits | 7 | 448 | NaN where all bits but the sign are 1; no infinities |
| E5M2 | 5 bits | 2 bits | 15 | 57344 | as in IEEE 754: the upper half of a float16 |
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT8: Mapping[str, tuple[int, int]] = {"float8_e4m3": (3, 7), "float8_e5m2": (2, 15)}
"""Type → bits of its mantissa, bias of its exponent."""


@cache
def float8_values(dtype: str) -> NDArray[Any]:
    """Return the float32 value of each of the 256 bytes of a type."""
    mantissa_bits, bias = FLOAT8[dtype]
    codes = np.arange(256)
    sign = np.where(codes & 0x80, np.float32(-1), np.float32(1))
    exponent = (codes & 0x7F) >> mantissa_bits
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    is_normal = exponent > 0
    magnitude = np.ldexp(is_normal + fraction, np.maximum(exponent, 1) - bias)
    if dtype == "float8_e4m3":
        magnitude[(codes & 0x7F) == 0x7F] = np.nan
    else:
        largest = exponent == exponent.max()
        magnitude[largest] = np.where(fraction[largest] == 0, np.inf, np.nan)
    values: NDArray[Any] = (sign * magnitude).astype(np.float32)
    return values
