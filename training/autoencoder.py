"""The first stage, an autoencoder of pictures and 8 × 8 latents, and the third, its decoder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from edgegen.models.source import resolve
from training.basis import basis_of, is_made, note_basis
from training.dataset import TrainingScenes
from training.loop import OutOfTimeError, Stage, is_over
from training.settings import (
    AUTOENCODER,
    DECODER,
    KL_WEIGHT,
    LATENT_CHANNELS,
    LATENT_PX,
    SEED,
    SQUARE_WEIGHT,
)

_ENCODED_AT_ONCE = 64
_MEASURED, _COMPARED = 1024, 256
"""How many scenes tell the latents' spread, and how many the quality of decoded pictures."""


def train_autoencoder(
    training_scenes: TrainingScenes, folder: Path, device: torch.device, deadline: float | None
) -> AutoencoderKL:
    """Return it as `vae` in the folder has it; train it first, or go on, where none is there.

    Its scaling gives its latents unit variance. Raises OutOfTimeError, and OtherBasisError.
    """
    torch.manual_seed(SEED)
    emoji = resolve("builtin:emoji").path
    autoencoder = AutoencoderKL.from_pretrained(emoji / "vae", dtype=torch.float32)
    basis = basis_of(
        SEED, AUTOENCODER, SQUARE_WEIGHT, KL_WEIGHT, autoencoder, training_scenes.basis
    )
    path = folder / "vae"
    if not is_made(path, basis):
        trained = _train(autoencoder, basis, training_scenes, folder, device, deadline)
        beside = folder / "vae.part"
        trained.save_pretrained(beside)
        note_basis(path, basis)
        beside.rename(path)
    return AutoencoderKL.from_pretrained(path).to(device).eval().requires_grad_(False)


def _train(
    autoencoder: AutoencoderKL,
    basis: str,
    training_scenes: TrainingScenes,
    folder: Path,
    device: torch.device,
    deadline: float | None,
) -> AutoencoderKL:
    """Train it, or go on; give it its scaling."""

    def loss(module: nn.Module, generator: torch.Generator) -> Tensor:
        pictures = training_scenes.collages(AUTOENCODER.batch, generator).to(device)
        posterior = module.encode(pictures).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
        decoded = module.decode(posterior.mean + posterior.std * noise).sample
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return picture_loss(decoded - pictures) + KL_WEIGHT * divergence

    stage = Stage(
        name="autoencoder",
        module=autoencoder,
        loss=loss,
        schedule=AUTOENCODER,
        folder=folder,
        device=device,
        basis=basis,
        deadline=deadline,
        watch=lambda step, module: print(
            f"autoencoder {step}: {reconstruction_db(module, training_scenes, device):.2f} dB",
            flush=True,
        ),
    )
    trained = stage.run()
    assert isinstance(trained, AutoencoderKL)
    indices = training_scenes.draw(_MEASURED, torch.Generator().manual_seed(SEED)).tolist()
    spread = _encode(trained, training_scenes, indices, device).std().item()
    trained.register_to_config(scaling_factor=1 / spread)
    return trained


def picture_loss(error: Tensor) -> Tensor:
    """Return the loss of decoded pictures by what they are off: absolute and squared, in means."""
    return error.abs().mean() + SQUARE_WEIGHT * error.square().mean()


class Decoder(nn.Module):
    """The half of an autoencoder that makes pictures of latents."""

    def __init__(self, autoencoder: AutoencoderKL) -> None:
        super().__init__()
        self.post_quant_conv = autoencoder.post_quant_conv
        self.decoder = autoencoder.decoder

    def forward(self, latents: Tensor) -> Tensor:
        """Return pictures, (batch, 3, 64, 64), of unscaled latents."""
        pictures: Tensor = self.decoder(self.post_quant_conv(latents))
        return pictures


def train_decoder(
    autoencoder: AutoencoderKL,
    training_scenes: TrainingScenes,
    folder: Path,
    device: torch.device,
    deadline: float | None,
) -> None:
    """Train its decoder on, or go on; what its encoder makes of pictures stays as it is."""

    def loss(module: nn.Module, generator: torch.Generator) -> Tensor:
        pictures = training_scenes.collages(DECODER.batch, generator).to(device)
        with torch.no_grad():
            latents = autoencoder.encode(pictures).latent_dist.mean
        return picture_loss(module(latents) - pictures)

    half = Decoder(autoencoder)
    stage = Stage(
        name="decoder",
        module=half.requires_grad_(True),
        loss=loss,
        schedule=DECODER,
        folder=folder,
        device=device,
        basis=basis_of(SEED, DECODER, SQUARE_WEIGHT, autoencoder, training_scenes.basis),
        deadline=deadline,
    )
    half.load_state_dict(stage.run().state_dict())
    autoencoder.eval().requires_grad_(False)
    print(f"decoder: {reconstruction_db(autoencoder, training_scenes, device):.2f} dB", flush=True)


def encode_all(
    autoencoder: AutoencoderKL,
    training_scenes: TrainingScenes,
    path: Path,
    device: torch.device,
    deadline: float | None,
) -> NDArray[np.float16]:
    """Encode every scene once, scaled; keep the latents in a file, (scenes, 8, 8, 8).

    Raises OutOfTimeError, after which all are encoded anew, and OtherBasisError.
    """
    basis = basis_of(autoencoder, autoencoder.config.scaling_factor, training_scenes.basis)
    if not is_made(path, basis):
        latents = _encode_each(autoencoder, training_scenes, device, deadline)
        beside = path.with_suffix(".part")
        with beside.open("wb") as file:
            np.save(file, latents)
        note_basis(path, basis)
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def _encode_each(
    autoencoder: AutoencoderKL,
    training_scenes: TrainingScenes,
    device: torch.device,
    deadline: float | None,
) -> NDArray[np.float16]:
    number = len(training_scenes.scenes)
    latents = np.zeros((number, LATENT_CHANNELS, LATENT_PX, LATENT_PX), np.float16)
    for start in range(0, number, _ENCODED_AT_ONCE):
        indices = range(start, min(start + _ENCODED_AT_ONCE, number))
        encoded = _encode(autoencoder, training_scenes, indices, device)
        scaled = encoded * autoencoder.config.scaling_factor
        latents[indices.start : indices.stop] = scaled.cpu().numpy()
        if start % (_ENCODED_AT_ONCE * 200) == 0:
            print(f"encoded {start}/{number}", flush=True)
        if indices.stop < number and is_over(deadline):
            raise OutOfTimeError(f"latents: stopped after {indices.stop} of {number} scenes.")
    return latents


@torch.no_grad()
def reconstruction_db(
    autoencoder: nn.Module, training_scenes: TrainingScenes, device: torch.device
) -> float:
    """Return the PSNR of decoded pictures over a fixed draw of scenes."""
    indices = training_scenes.draw(_COMPARED, torch.Generator().manual_seed(SEED)).tolist()
    errors = []
    for start in range(0, len(indices), _ENCODED_AT_ONCE):
        pictures = training_scenes.pictures(indices[start : start + _ENCODED_AT_ONCE]).to(device)
        decoded = autoencoder.decode(autoencoder.encode(pictures).latent_dist.mean).sample
        errors.append((decoded.clamp(-1, 1) - pictures).square().mean().item())
    return 10 * math.log10(4 / (sum(errors) / len(errors)))


@torch.no_grad()
def _encode(
    autoencoder: AutoencoderKL,
    training_scenes: TrainingScenes,
    indices: range | list[int],
    device: torch.device,
) -> Tensor:
    parts = [
        autoencoder.encode(
            training_scenes.pictures(indices[start : start + _ENCODED_AT_ONCE]).to(device)
        ).latent_dist.mean
        for start in range(0, len(indices), _ENCODED_AT_ONCE)
    ]
    return torch.cat(parts)
