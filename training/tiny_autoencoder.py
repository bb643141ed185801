"""The last stage: a small autoencoder for the same latents, as TAESD is to Stable Diffusion's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn

from training.dataset import TrainingScenes
from training.loop import Stage
from training.settings import SEED, TINY_AUTOENCODER, TINY_AUTOENCODER_CONFIG

_SQUARE_WEIGHT = 2.0


def train_tiny_autoencoder(
    training_scenes: TrainingScenes,
    latents: NDArray[np.float16],
    folder: Path,
    device: torch.device,
    deadline: float | None,
) -> AutoencoderTiny:
    """Train it, or go on: to decode the latents that there are, and to encode pictures to them."""
    torch.manual_seed(SEED)

    def loss(module: nn.Module, generator: torch.Generator) -> Tensor:
        indices = training_scenes.draw(TINY_AUTOENCODER.batch, generator)
        pictures = training_scenes.pictures(indices.tolist()).to(device)
        known = torch.from_numpy(latents[indices.numpy()].astype(np.float32)).to(device)
        error = module.decode(known).sample - pictures
        encoded = module.encode(pictures).latents - known
        return error.abs().mean() + _SQUARE_WEIGHT * error.square().mean() + encoded.square().mean()

    stage = Stage(
        name="tiny-autoencoder",
        module=AutoencoderTiny(**TINY_AUTOENCODER_CONFIG),
        loss=loss,
        schedule=TINY_AUTOENCODER,
        folder=folder,
        device=device,
        deadline=deadline,
    )
    trained = stage.run()
    assert isinstance(trained, AutoencoderTiny)
    return trained
