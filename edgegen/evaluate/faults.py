"""Tells pictures that show nothing: black ones, ones of one color, and noise.

Noise is what a denoiser leaves that doesn't denoise. Of pixels it is white; of latents a decoder
makes blobs of it, as large as a latent's field, that know nothing of their neighbors, everywhere.
So a picture is taken for noise where pixels as far apart as latents, and those farther apart, are
hardly correlated, and few of its blocks are smooth. A picture of small things on a plain ground has
the former, one full of detail the latter. Of 1,592 pictures of scenes and of the built-in models'
none is taken for noise, of 280 that their decoders made of random latents all are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgegen.core.evaluation import Fault
from edgegen.drawer import Pixels

_BLACK_LEVEL = 3
_CONSTANT_LEVELS = 3
_OUTLIERS = 0.001
"""A share of pixels that may differ: decoders make specks."""

_LEAST_CORRELATION = 0.3
"""Of neighboring pixels: 0 in white noise, 0.5 and more in pictures, and in decoded latents."""
_DISTANCES_PX = (8, 32)
"""A latent's, and one at which pictures repeat that are of several things."""
_LEAST_FAR_CORRELATION = 0.22
_BLOCK_PX = 4
_SMOOTH = 0.15
"""A block is smooth whose deviation is below so much of the whole picture's."""
_LEAST_SMOOTH_BLOCKS = 0.25


def fault_of(pixels: Pixels) -> Fault | None:
    """Return what is wrong with a picture, uint8 (height, width, 3); None where it shows something.

    Values that aren't finite have no pixels: who decodes them says so.
    """
    values = pixels.astype(np.float32)
    low, high = np.quantile(values, [_OUTLIERS, 1 - _OUTLIERS], axis=(0, 1))
    if float(high.max()) <= _BLACK_LEVEL:
        return "black"
    if float((high - low).max()) <= _CONSTANT_LEVELS:
        return "constant"
    return "noise" if _is_noise(values) else None


def _is_noise(values: NDArray[np.float32]) -> bool:
    shortest = min(values.shape[:2])
    if shortest < _BLOCK_PX:
        return False
    if correlation(values, 1) < _LEAST_CORRELATION:
        return True
    far = [correlation(values, it) for it in _DISTANCES_PX if 2 * it <= shortest]
    if not far or max(far) >= _LEAST_FAR_CORRELATION:
        return False
    return smooth_blocks(values) < _LEAST_SMOOTH_BLOCKS


def correlation(values: NDArray[np.float32], distance: int) -> float:
    """Return how far values are correlated with those `distance` pixels below and to the right."""
    centered = values - values.mean(axis=(0, 1), keepdims=True)
    variance = float(np.square(centered).mean())
    below = float((centered[distance:] * centered[:-distance]).mean())
    right = float((centered[:, distance:] * centered[:, :-distance]).mean())
    return (below + right) / 2 / variance if variance > 0 else 1.0


def smooth_blocks(values: NDArray[np.float32]) -> float:
    """Return the share of blocks that are smooth beside the whole picture."""
    rows, columns = (size // _BLOCK_PX for size in values.shape[:2])
    cut = values[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    blocks = cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX, values.shape[2])
    deviations = blocks.std(axis=(1, 3)).mean(axis=-1)
    whole = float(np.sqrt(np.square(values - values.mean(axis=(0, 1))).mean()))
    return float((deviations < _SMOOTH * whole).mean())
