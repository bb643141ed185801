"""The guidance scale as an input of the denoiser, for models that were distilled with it."""

from __future__ import annotations

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
    rate = np.log(np.float32(10000.0)) / np.float32(half - 1)
    angles = w * np.exp(np.arange(half, dtype=np.float32) * -rate)
    padding = np.zeros(dimension % 2, dtype=np.float32)
    return np.concatenate([np.sin(angles), np.cos(angles), padding])[None].astype(np.float32)
