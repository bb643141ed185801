"""Draws scenes with diffusers: what a model scores before it is packaged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from edgegen.scenes.scores import Draw, Request


def torch_drawer(pipeline: StableDiffusionPipeline, *, steps: int, guidance: float) -> Draw:
    """Return a function that draws requests in one batch, each from its own seed."""
    pipeline.set_progress_bar_config(disable=True)

    def draw(requests: Sequence[Request]) -> NDArray[np.uint8]:
        pictures = pipeline(
            [request.caption for request in requests],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(request.seed) for request in requests],
            output_type="np",
        ).images
        levels: NDArray[np.uint8] = np.rint(pictures * 255).astype(np.uint8)
        return levels

    return draw
