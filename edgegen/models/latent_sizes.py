"""Which sizes a model draws: multiples of what its denoiser and its pipeline take."""

from __future__ import annotations

from edgegen.core.model import Generation


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
