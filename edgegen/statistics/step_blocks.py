"""Prepares a series of steps for the search for changes: outliers clipped, neighbours averaged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgegen.statistics.noise_models import Floats

MAXIMUM_BLOCKS = 300

_CLIP_SPREADS = 4.0
_BURST_S = 8.0  # a burst up to this long is clipped, where it is no more than 15 values
_BURST_VALUES = (2, 15)
_PROFILE_IMAGES = 10
_PROFILE_SPREADS = 4.0


def block_bounds(count: int, cuts: Sequence[int] = ()) -> NDArray[np.int64]:
    """Return where at most 300 blocks of neighbours begin, and the end.

    Blocks begin at each of `cuts`, too, but for those that are less than a block apart or from an
    end; between these, sizes are equal to within 1.
    """
    blocks = count // -(-count // MAXIMUM_BLOCKS)
    size = count / blocks
    edges = [0]
    edges += [cut for cut in sorted(cuts) if size <= cut <= count - size]
    edges = [a for a, b in itertools.pairwise([*edges, count]) if b - a >= size] + [count]
    # Rounding the running total, not each part, keeps the number of blocks.
    totals = [round(edge / size) for edge in edges]
    parts = [
        np.linspace(a, b, n - m + 1)[:-1]
        for (a, m), (b, n) in itertools.pairwise(zip(edges, totals, strict=True))
        if n > m
    ]
    return np.round(np.append(np.concatenate(parts), count)).astype(np.int64)


def burst_values(value_s: float) -> int:
    """Return the length, in values of `value_s` each, of the longest burst that is clipped."""
    return int(np.clip(round(_BURST_S / value_s), *_BURST_VALUES))


def clip(values: Floats, burst: int) -> Floats:
    """Pull back values over four robust deviations away from the running median.

    Up to `burst` neighbours that stand out together are pulled back; a step and a ramp pass
    unchanged (Hampel's filter, but clipping).
    """
    half = min(burst, values.size - 1)
    padded = np.concatenate([values[half:0:-1], values, values[-2 : -half - 2 : -1]])
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    median = np.median(views, axis=1)
    rest = values - median
    # Zeros are the medians themselves; a third of a short window's rests would be these.
    spread = 1.4826 * float(np.median(np.abs(rest[rest != 0.0]))) if rest.any() else 0.0
    bound = _CLIP_SPREADS * spread
    return np.asarray(median + np.clip(rest, -bound, bound))


def without_profile(logs: Floats, position: NDArray[np.int64]) -> Floats:
    """Subtract what a place in an image always differs by from its image's median.

    A new image begins where the position does not rise. Fewer than ten images are left alone, and
    so are places that differ by less than four standard errors.
    """
    image = np.cumsum(np.diff(position, prepend=position[0]) <= 0) - 1
    if image[-1] + 1 < _PROFILE_IMAGES:
        return logs
    order = np.argsort(image, kind="stable")
    edges = np.searchsorted(image[order], np.arange(image[-1] + 2))
    medians = np.array([np.median(logs[a:b]) for a, b in itertools.pairwise(edges)])
    rest = logs - medians[image]
    profile = np.zeros(int(position.max()) + 1)
    for place in np.unique(position):
        here = rest[position == place]
        usual = float(np.median(here))
        if abs(usual) > _PROFILE_SPREADS * np.std(here) / math.sqrt(here.size):
            profile[place] = usual
    return np.asarray(logs - profile[position])
