"""Stable Diffusion and Stable Diffusion XL, steered by ControlNets.

Source: diffusers/pipelines/controlnet/pipeline_controlnet{,_img2img,_inpaint,_sd_xl,_sd_xl_img2img,
_inpaint_sd_xl}.py. Unlike the pipelines without ControlNets, they correct nothing in a scheduler.
"""

from __future__ import annotations

from ..request import Request
from ..residency import Components
from .scheduler import SchedulerRules
from .stable_diffusion import STRENGTHS, StableDiffusion
from .stable_diffusion_xl import StableDiffusionXL

SCHEDULERS = SchedulerRules()

_SCALES = {"picture": 0.8, "mask": 0.5}
_SCALES_XL = {"picture": 0.8}
_STRENGTHS_XL = {"picture": 0.8, "mask": 0.9999}


def Steered(components: Components, request: Request) -> StableDiffusion:  # noqa: N802
    """Return Stable Diffusion's loop with the defaults of diffusers' ControlNet pipelines."""
    return StableDiffusion(
        components,
        request,
        schedulers=SCHEDULERS,
        strengths=STRENGTHS,
        control_scales=_SCALES,
    )


def SteeredXL(components: Components, request: Request) -> StableDiffusionXL:  # noqa: N802
    """Return Stable Diffusion XL's loop with the defaults of diffusers' ControlNet pipelines."""
    return StableDiffusionXL(
        components, request, strengths=_STRENGTHS_XL, control_scales=_SCALES_XL
    )
