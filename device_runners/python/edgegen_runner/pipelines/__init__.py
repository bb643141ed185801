"""The pipelines that the runner draws with: the denoising loops of diffusers, on numpy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import RunnerFailure, nearest
from ..request import Request
from ..residency import Components
from .base import Pipeline
from .scheduler import SchedulerRules
from .taken import check_taken

PIPELINES: dict[str, str] = {
    "pixart": "pixart:PixArt",
    "stable-diffusion": "stable_diffusion:StableDiffusion",
    "stable-diffusion-inpaint": "stable_diffusion:StableDiffusion",
    "stable-diffusion-controlnet": "controlnet:Steered",
    "stable-diffusion-inpaint-controlnet": "controlnet:Steered",
    "stable-diffusion-edit": "stable_diffusion:StableDiffusion",
    "stable-diffusion-upscale": "stable_diffusion:StableDiffusion",
    "stable-diffusion-latent-upscale": "latent_upscale:LatentUpscale",
    "stable-diffusion-depth": "stable_diffusion:StableDiffusion",
    "stable-diffusion-t2i-adapter": "t2i_adapter:Steered",
    "latent-consistency": "latent_consistency:LatentConsistency",
    "stable-diffusion-xl": "stable_diffusion_xl:StableDiffusionXL",
    "stable-diffusion-xl-inpaint": "stable_diffusion_xl:StableDiffusionXL",
    "stable-diffusion-xl-controlnet": "controlnet:SteeredXL",
    "stable-diffusion-xl-inpaint-controlnet": "controlnet:SteeredXL",
    "stable-diffusion-xl-edit": "stable_diffusion_xl:StableDiffusionXL",
    "stable-diffusion-xl-t2i-adapter": "t2i_adapter:SteeredXL",
    "stable-diffusion-xl-refiner": "stable_diffusion_xl:StableDiffusionXL",
    "consistency-model": "consistency_model:ConsistencyModel",
    "unconditional": "unconditional:Unconditional",
}
"""Family -> module and class in this package; the module's ``SCHEDULERS`` are its rules."""


def open_pipeline(components: Components, request: Request) -> Pipeline:
    """Return the pipeline of a package's family, planned for a request.

    Raises RunnerFailure: ``unsupported-family``, ``unsupported-scheduler``, ``bad-request`` where
    the request does not go with the family, ``bad-package``.
    """
    module, name = _find(components.package.family)
    check_taken(components.package, request)
    pipeline_class: Any = getattr(module, name)
    pipeline: Pipeline = pipeline_class(components, request)
    return pipeline


def scheduler_rules(family: str) -> SchedulerRules:
    """Return what the pipelines of a family do to schedulers.

    Raises RunnerFailure (unsupported-family).
    """
    module, _ = _find(family)
    rules: SchedulerRules = module.SCHEDULERS
    return rules


def _find(family: str) -> tuple[Any, str]:
    """Return the module of a family, and the name of the class in it."""
    if family not in PIPELINES:
        raise RunnerFailure(
            "unsupported-family",
            f"This runner cannot draw with the family {family!r}.",
            nearest(family, PIPELINES),
        )
    module, _, name = PIPELINES[family].partition(":")
    return import_module(f".{module}", __name__), name
