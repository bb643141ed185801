"""Weights as float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity


class Float32:
    """Numbers as they are, in 32 bits."""

    bits = 32
    reads: np.dtype[Any] | None = np.dtype(np.float32)

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Return the weight as float32."""
        return Encoded(values=weight.astype(np.float32, copy=False))

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the numbers as float32."""
        return encoded.values.astype(np.float32, copy=False)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return 4 bytes a number."""
        return 4 * math.prod(shape)
