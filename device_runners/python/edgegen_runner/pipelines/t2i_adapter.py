"""Stable Diffusion and Stable Diffusion XL, steered by T2I-Adapters.

Source: diffusers/pipelines/t2i_adapter/pipeline_stable_diffusion{,_xl}_adapter.py. They correct
nothing in a scheduler.
"""

from __future__ import annotations

from ..request import Request
from ..residency import Components
from .scheduler import SchedulerRules
from .stable_diffusion import StableDiffusion
from .stable_diffusion_xl import StableDiffusionXL

SCHEDULERS = SchedulerRules()


def Steered(components: Components, request: Request) -> StableDiffusion:  # noqa: N802
    """Return Stable Diffusion's loop with diffusers' rules for T2I-Adapters."""
    return StableDiffusion(components, request, schedulers=SCHEDULERS)


def SteeredXL(components: Components, request: Request) -> StableDiffusionXL:  # noqa: N802
    """Return Stable Diffusion XL's loop with diffusers' rules for T2I-Adapters."""
    return StableDiffusionXL(components, request)
