"""The guidance scale as an input of the denoiser, for models that were distilled with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def guidance_embedding(scale: float, dimension: int) -> npt.NDArray[Any]:
    """Return the sinusoidal embedding of a guidance scale, (1, dimension).

    Source: ``get_guidance_scale_embedding`` of diffusers' LatentConsistencyModelPipeline, after
    github.com/google-research/vdm, model_vdm.py; w is the scale less 1.
    """
    w = np.float32(scale - 1) * np.float32(1000.0)
    half = dimension // 2
    rate = np.float32(math.log(10000.0)) / np.float32(half - 1)
    # Angles go up to thousands, so that a last bit of the exponential shows: round it correctly.
    exponents = (np.arange(half, dtype=np.float32) * -rate).astype(np.float64)
    angles = (w * np.exp(exponents).astype(np.float32)).astype(np.float64)
    padding = np.zeros(dimension % 2)
    return np.concatenate([np.sin(angles), np.cos(angles), padding])[None].astype(np.float32)
