"""The pipelines that the runner draws with: the denoising loops of diffusers, on numpy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import RunnerFailure, nearest
from ..request import Request
from ..residency import Components
from .base import Pipeline

PIPELINES: dict[str, str] = {
    "stable-diffusion": "stable_diffusion:StableDiffusion",
    "stable-diffusion-inpaint": "stable_diffusion:StableDiffusion",
    "latent-consistency": "latent_consistency:LatentConsistency",
    "stable-diffusion-xl": "stable_diffusion_xl:StableDiffusionXL",
    "stable-diffusion-xl-inpaint": "stable_diffusion_xl:StableDiffusionXL",
    "stable-diffusion-xl-refiner": "stable_diffusion_xl:StableDiffusionXL",
    "unconditional": "unconditional:Unconditional",
}
"""Family -> module and class in this package."""


def open_pipeline(components: Components, request: Request) -> Pipeline:
    """Return the pipeline of a package's family, planned for a request.

    Raises RunnerFailure: ``unsupported-family``, ``unsupported-scheduler``, ``bad-request`` where
    the request does not go with the family, ``bad-package``.
    """
    family = components.package.family
    if family not in PIPELINES:
        raise RunnerFailure(
            "unsupported-family",
            f"This runner cannot draw with the family {family!r}.",
            nearest(family, PIPELINES),
        )
    module, _, name = PIPELINES[family].partition(":")
    pipeline_class: Any = getattr(import_module(f".{module}", __name__), name)
    pipeline: Pipeline = pipeline_class(components, request)
    return pipeline
