"""The last stage: a small autoencoder for the same latents, as TAESD is to Stable Diffusion's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn

from training.autoencoder import picture_loss
from training.basis import basis_of
from training.dataset import TrainingScenes
from training.loop import Stage
from training.settings import SEED, SQUARE_WEIGHT, TINY_AUTOENCODER, TINY_AUTOENCODER_CONFIG


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
        decoded = module.decode(known).sample
        encoded = module.encode(pictures).latents - known
        return picture_loss(decoded - pictures) + encoded.square().mean()

    stage = Stage(
        name="tiny-autoencoder",
        module=AutoencoderTiny(**TINY_AUTOENCODER_CONFIG),
        loss=loss,
        schedule=TINY_AUTOENCODER,
        folder=folder,
        device=device,
        basis=basis_of(
            SEED,
            TINY_AUTOENCODER,
            TINY_AUTOENCODER_CONFIG,
            SQUARE_WEIGHT,
            training_scenes.basis,
            latents,
        ),
        deadline=deadline,
    )
    trained = stage.run()
    assert isinstance(trained, AutoencoderTiny)
    return trained
