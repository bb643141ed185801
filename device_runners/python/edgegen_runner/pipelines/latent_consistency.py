"""Latent consistency models: few steps, the guidance scale as an input, no negative prompt.

Source: diffusers/pipelines/latent_consistency_models/pipeline_latent_consistency_text2img.py and
pipeline_latent_consistency_img2img.py.
"""

from __future__ import annotations

from ..errors import RunnerFailure
from ..request import Request
from ..residency import Components
from .scheduler import SchedulerRules
from .stable_diffusion import StableDiffusion

SCHEDULERS = SchedulerRules(only="LCMScheduler")


def LatentConsistency(components: Components, request: Request) -> StableDiffusion:  # noqa: N802
    """Return Stable Diffusion's loop for a latent consistency model, with its refusals.

    Raises RunnerFailure: ``bad-request`` for a negative prompt, ``unsupported-scheduler`` for
    another scheduler.
    """
    if request.negative_prompt:
        raise RunnerFailure(
            "bad-request",
            "A latent consistency model takes no negative prompt: its guidance is an input.",
            "Leave the negative prompt out.",
        )
    return StableDiffusion(components, request, schedulers=SCHEDULERS, strength_spaces_steps=True)
