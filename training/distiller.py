"""The fourth stage: a UNet that needs four steps and no guidance, taught by the second's.

Latent consistency distillation (arXiv:2310.04378) with the guidance fixed: whatever two points of
the teacher's way from noise to a picture the student gets, it has to name the same picture.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from training.basis import basis_of
from training.dataset import Captions, TrainingScenes
from training.denoiser import Denoiser
from training.loop import Stage, in_bfloat16
from training.settings import (
    CONSISTENCY_STEPS,
    DISTILLER,
    GUIDANCE,
    SCHEDULER_CONFIG,
    SEED,
)

_SIGMA_DATA, _TIMESTEP_SCALING = 0.5, 10.0
"""Of diffusers' LCMScheduler, whose boundary conditions the student has to have."""
_HUBER = 0.001


class Way:
    """The teacher's schedule: what shares of picture and noise a timestep has."""

    def __init__(self) -> None:
        kept = DDIMScheduler(**SCHEDULER_CONFIG).alphas_cumprod
        self.picture, self.noise = kept.sqrt(), (1 - kept).sqrt()
        self.stride = len(kept) // CONSISTENCY_STEPS

    def shares(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the shares at timesteps, (batch, 1, 1, 1); before the first, all is picture."""
        at = timesteps.clamp(min=0)
        picture = torch.where(timesteps < 0, 1.0, self.picture[at])
        noise = torch.where(timesteps < 0, 0.0, self.noise[at])
        return picture[:, None, None, None], noise[:, None, None, None]

    def consistent(self, latents: Tensor, predicted: Tensor, timesteps: Tensor) -> Tensor:
        """Return the picture that a predicted noise names, as LCMScheduler computes it."""
        picture, noise = self.shares(timesteps)
        clean = (latents - noise * predicted) / picture
        scaled = timesteps.clamp(min=0)[:, None, None, None] * _TIMESTEP_SCALING
        skip = _SIGMA_DATA**2 / (scaled**2 + _SIGMA_DATA**2)
        out = scaled / (scaled**2 + _SIGMA_DATA**2).sqrt()
        return skip * latents + out * clean

    def before(self, latents: Tensor, predicted: Tensor, later: Tensor, earlier: Tensor) -> Tensor:
        """Return where a predicted noise leads to at an earlier timestep, as DDIM steps."""
        picture, noise = self.shares(later)
        clean = (latents - noise * predicted) / picture
        picture, noise = self.shares(earlier)
        return picture * clean + noise * predicted


def distill(
    teacher: Denoiser,
    training_scenes: TrainingScenes,
    latents: NDArray[np.float16],
    captions: Captions,
    folder: Path,
    device: torch.device,
    deadline: float | None,
    watch: Callable[[int, nn.Module], None] | None,
) -> nn.Module:
    """Train the student's UNet, or go on; the text encoder stays the teacher's."""
    teacher = teacher.to(device).eval().requires_grad_(False)
    student = copy.deepcopy(teacher.unet).requires_grad_(True)
    way = Way()

    def loss(module: nn.Module, generator: torch.Generator) -> Tensor:
        indices = training_scenes.draw(DISTILLER.batch, generator)
        tokens = captions.draw(indices, 0.0, generator).to(device)
        empty = torch.from_numpy(captions.empty.astype(np.int64)).to(device)
        clean = torch.from_numpy(latents[indices.numpy()].astype(np.float32))
        noise = torch.randn(clean.shape, generator=generator)
        later = torch.randint(CONSISTENCY_STEPS, (len(indices),), generator=generator)
        later = (later + 1) * way.stride - 1
        earlier = later - way.stride
        picture, noisiness = way.shares(later)
        noisy = picture * clean + noisiness * noise
        with torch.no_grad(), in_bfloat16(device):
            states = teacher.text_encoder(tokens).last_hidden_state
            silent = teacher.text_encoder(empty[None]).last_hidden_state.expand_as(states)
            both = (
                teacher.unet(
                    torch.cat([noisy, noisy]).to(device),
                    torch.cat([later, later]).to(device),
                    torch.cat([states, silent]),
                )
                .sample.float()
                .cpu()
            )
            with_text, without = both.chunk(2)
            guided = without + GUIDANCE * (with_text - without)
            before = way.before(noisy, guided, later, earlier)
            at = earlier.clamp(min=0)
            predicted = stage.average(before.to(device), at.to(device), states).sample
            predicted = predicted.float().cpu()
            wanted = torch.where(
                (earlier < 0)[:, None, None, None],
                before,
                way.consistent(before, predicted, earlier),
            )
        with in_bfloat16(device):
            predicted = module(noisy.to(device), later.to(device), states).sample
        error = way.consistent(noisy, predicted.float().cpu(), later) - wanted
        return ((error.square() + _HUBER**2).sqrt() - _HUBER).mean()

    stage = Stage(
        name="distiller",
        module=student,
        loss=loss,
        schedule=DISTILLER,
        folder=folder,
        device=device,
        basis=basis_of(
            SEED,
            DISTILLER,
            SCHEDULER_CONFIG,
            CONSISTENCY_STEPS,
            GUIDANCE,
            (_SIGMA_DATA, _TIMESTEP_SCALING, _HUBER),
            teacher,
            training_scenes.basis,
            captions.basis,
            latents,
        ),
        deadline=deadline,
        watch=watch,
    )
    return stage.run()
