"""Which sizes a model draws: multiples of what its denoiser takes and its pipeline allows."""

from __future__ import annotations

import math

from edgegen.core.model import Generation

_TEXT_PX = 8


def latent_multiple_of_text(multiple: int, scale: int) -> int:
    """Return what latents' sides have to be a multiple of where a pipeline draws from text.

    diffusers' pipelines take sizes that 8 divides, whatever their denoiser (`multiple`) and their
    autoencoder (`scale` pixels a latent) do.
    """
    return math.lcm(multiple, _TEXT_PX // math.gcd(_TEXT_PX, scale))


def size_problem(generation: Generation) -> str | None:
    """Return why a model cannot draw at the size that `generation` says, or None where it can."""
    multiple = generation.vae_scale_factor * generation.latent_multiple
    width, height = generation.width, generation.height
    if width % multiple == height % multiple == 0 and min(width, height) > 0:
        return None
    return (
        f"This model draws widths and heights that are multiples of {multiple}, and "
        f"{width} × {height} is not."
    )
