"""Decodes a picture in tiles in torch, as the runner does.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.vae import DecoderOutput
from edgegen_runner.pipelines.tiles import decode_in_tiles
from numpy.typing import NDArray


@contextmanager
def decoded_in_tiles(pipeline: Any, side: int | None) -> Iterator[None]:
    """Let a pipeline decode in tiles of `side` latents; None, and smaller pictures: at once."""
    if side is None:
        yield
        return
    vae = pipeline.vae
    at_once = vae.decode

    def decode(latents: torch.Tensor, return_dict: bool = True, **options: Any) -> Any:
        def one(tile: NDArray[Any]) -> NDArray[np.float32]:
            decoded = at_once(torch.from_numpy(tile), return_dict=False, **options)[0]
            picture: NDArray[np.float32] = decoded.float().numpy()
            return picture

        if max(latents.shape[2:]) <= side:
            return at_once(latents, return_dict=return_dict, **options)
        picture = torch.from_numpy(decode_in_tiles(one, latents.numpy(), side))
        return DecoderOutput(sample=picture) if return_dict else (picture,)

    vae.decode = decode
    try:
        yield
    finally:
        del vae.decode
