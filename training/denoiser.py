"""The second stage: the text encoder and the UNet, together, on the latents of the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.basis import basis_of
from training.dataset import Captions, TrainingScenes
from training.loop import Stage, in_bfloat16
from training.settings import (
    DENOISER,
    DENOISER_CONFIG,
    EMPTY_CAPTIONS,
    SCHEDULER_CONFIG,
    SEED,
    SNR_FLOOR,
    SNR_LIMIT,
    TEXT_ENCODER_CONFIG,
)


class Denoiser(nn.Module):
    """A text encoder and a UNet: noise as predicted from latents, timesteps and token ids."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                **TEXT_ENCODER_CONFIG,
                vocab_size=len(tokenizer),
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                attn_implementation="eager",
            )
        )
        self.unet = UNet2DConditionModel(**DENOISER_CONFIG)
        self.unet.set_attn_processor(AttnProcessor())  # on a CPU, SDPA is slow in bfloat16

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predict the noise: (batch, 8, 8, 8) of such latents, (batch,), (batch, 24)."""
        states = self.text_encoder(tokens).last_hidden_state
        noise: Tensor = self.unet(latents, timesteps, states).sample
        return noise


def train_denoiser(
    training_scenes: TrainingScenes,
    latents: NDArray[np.float16],
    captions: Captions,
    tokenizer: CLIPTokenizer,
    folder: Path,
    device: torch.device,
    deadline: float | None,
    watch: Callable[[int, nn.Module], None] | None,
) -> Denoiser:
    """Train both, or go on."""
    torch.manual_seed(SEED)
    denoiser = Denoiser(tokenizer)
    denoiser.unet.to(memory_format=torch.channels_last)  # a quarter faster on a CPU
    kept = DDIMScheduler(**SCHEDULER_CONFIG).alphas_cumprod
    signal_to_noise = kept / (1 - kept)
    weights = (signal_to_noise.clamp(max=SNR_LIMIT) + SNR_FLOOR) / signal_to_noise

    def loss(module: nn.Module, generator: torch.Generator) -> Tensor:
        indices = training_scenes.draw(DENOISER.batch, generator)
        tokens = captions.draw(indices, EMPTY_CAPTIONS, generator)
        clean = torch.from_numpy(latents[indices.numpy()].astype(np.float32))
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(len(kept), (len(indices),), generator=generator)
        share = kept[timesteps, None, None, None]
        noisy = share.sqrt() * clean + (1 - share).sqrt() * noise
        with in_bfloat16(device):
            predicted = module(noisy.to(device), timesteps.to(device), tokens.to(device))
        errors = (predicted.float() - noise.to(device)).square().mean((1, 2, 3))
        return (errors * weights[timesteps].to(device)).mean()

    stage = Stage(
        name="denoiser",
        module=denoiser,
        loss=loss,
        schedule=DENOISER,
        folder=folder,
        device=device,
        basis=basis_of(
            SEED,
            DENOISER,
            DENOISER_CONFIG,
            TEXT_ENCODER_CONFIG,
            len(tokenizer),
            SCHEDULER_CONFIG,
            EMPTY_CAPTIONS,
            (SNR_LIMIT, SNR_FLOOR),
            training_scenes.basis,
            captions.basis,
            latents,
        ),
        deadline=deadline,
        watch=watch,
        is_compiled=True,
    )
    trained = stage.run()
    assert isinstance(trained, Denoiser)
    return trained
