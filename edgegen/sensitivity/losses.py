"""What an error of weights does to pictures, from gradients: to first order, channel by channel.

A weight W is stored as W + D. To first order a picture moves by J vec(D), where J holds the
derivatives of its values. For random signs s the square of (sᵀJ) vec(D) is on average the squared
length of that, and sᵀJ is one gradient. Of the products of gradient and error only those within an
output channel are summed before they are squared: errors of different channels are taken as
independent, which gives up what few samples could not tell anyway.

Imported in the measuring process only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.compress.codec import Codec, Granularity
from edgegen.compress.codecs import CODECS


def stored_error(weight: NDArray[np.float32], codec: Codec) -> NDArray[np.float32]:
    """Return how far off the numbers of a weight are that a codec restores."""
    given = weight if codec.reads is None else weight.astype(codec.reads)
    restored = codec.decode(codec.encode(np.ascontiguousarray(given), Granularity()))
    error: NDArray[np.float32] = restored.reshape(weight.shape) - weight
    return error


def losses_of(
    weight: NDArray[np.float32],
    gradients: Sequence[Path],
    *,
    values: int,
    codecs: Mapping[str, Codec] = CODECS,
) -> dict[str, float]:
    """Return the expected mean squared error of pictures for each type of storage of one weight.

    `gradients` are files, one for each trajectory, of the derivatives of the sum of a picture's
    `values` with random signs; one that isn't there is of a weight that nothing used.
    """
    rows = weight.shape[0]
    found = {}
    for name, codec in codecs.items():
        error = stored_error(weight, codec).reshape(rows, -1)
        total = 0.0
        for path in gradients:
            if path.is_file():
                gradient: Any = np.load(path, mmap_mode="r")
                moved = np.einsum("ij,ij->i", gradient.reshape(rows, -1), error)
                total += float(np.square(moved, dtype=np.float64).sum())
        found[name] = total / len(gradients) / values
    return found
