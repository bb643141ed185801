"""Weights as float16."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity


class Float16:
    """Numbers as they are, in 16 bits."""

    bits = 16
    reads: np.dtype[Any] | None = np.dtype(np.float16)

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Return the weight as float16."""
        return Encoded(values=weight.astype(np.float16, copy=False))

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the numbers as float32."""
        return encoded.values.astype(np.float32, copy=False)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return 2 bytes a number."""
        return 2 * math.prod(shape)
