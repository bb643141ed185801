"""What weights in a prompt do to hidden states, and the norm that follows CLIP's last layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def emphasized(states: Array, weights: Optional[Sequence[float]]) -> Array:
    """Return hidden states multiplied by their tokens' weights, with the mean that they had.

    The web UI's rule ("Original" in its settings; stable-diffusion-webui, modules/sd_emphasis.py).

    Args:
        states: Of one chunk: (1, sequence, width).
        weights: One a token; None leaves the states as they are.
    """
    if weights is None:
        return states
    weighted: Array = states * np.array(weights, dtype=np.float32)[np.newaxis, :, np.newaxis]
    mean = float(np.mean(weighted, dtype=np.float64))
    if mean == 0.0:
        return weighted
    return weighted * np.float32(float(np.mean(states, dtype=np.float64)) / mean)


def beyond_empty(states: Array, weights: Optional[Sequence[float]], empty: Array) -> Array:
    """Return hidden states as far from those of an empty prompt as their weights say.

    compel's rule (compel 2.5.1, embeddings_provider.py, ``build_weighted_embedding_tensor``).

    Args:
        states: Of one chunk: (1, sequence, width).
        weights: One a token; None leaves the states as they are.
        empty: The states of an empty chunk: (1, sequence, width).
    """
    if weights is None:
        return states
    factors = np.array(weights, dtype=np.float32)[np.newaxis, :, np.newaxis]
    weighted: Array = np.where(factors == 1, states, empty + (states - empty) * factors)
    return weighted


def share_without(weight: float) -> float:
    """Return what the prompt without some words counts beside that with them, at their weight.

    compel's rule: nothing at 1, as much at 0.5, and nearly all towards 0.
    """
    return math.tan((1.0 - max(weight, 1e-5)) * math.pi / 2)


def final_norm(before: Array, after: Array, epsilon: float) -> Callable[[Array], Array]:
    """Return the layer norm that made one state of another.

    A package's text encoder has both states, and the norm is a straight line a channel, so that
    least squares over the tokens find its scale and shift.

    Args:
        before: What the last layer gives: (1, sequence, width).
        after: The same behind the norm.
        epsilon: What the norm adds to the variance.
    """
    normalized, wanted = _normalized(before, epsilon)[0], after[0].astype(np.float64)
    middle, wanted_middle = normalized.mean(axis=0), wanted.mean(axis=0)
    spread = normalized - middle
    squares = np.square(spread).sum(axis=0)
    products = (spread * (wanted - wanted_middle)).sum(axis=0)
    scale = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
    shift = wanted_middle - scale * middle

    def norm(states: Array) -> Array:
        result: Array = (_normalized(states, epsilon) * scale + shift).astype(np.float32)
        return result

    return norm


def _normalized(states: Array, epsilon: float) -> Array:
    wide = states.astype(np.float64)
    centred: Array = wide - wide.mean(axis=-1, keepdims=True)
    normalized: Array = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + epsilon)
    return normalized
