"""Unconditional pipelines: a denoiser of pixels, without text and without an autoencoder.

Source: diffusers/pipelines/ddpm/pipeline_ddpm.py and ddim/pipeline_ddim.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..request import Request
from ..residency import Components
from .base import (
    Plan,
    Start,
    Step,
    check_size,
    check_start,
    denoise,
    denoiser_names,
    first_noise,
    generator,
    set_timesteps,
)
from .denoiser import Conditioning, Denoiser, Guidance
from .feature_cache import cache_interval_of
from .scheduler import SchedulerRules, open_scheduler
from .text import check_plain

Array = npt.NDArray[Any]

SCHEDULERS = SchedulerRules(
    # DDPMPipeline hands each step a random generator, which these refuse
    refused=(
        *("PNDMScheduler", "LMSDiscreteScheduler", "UniPCMultistepScheduler"),
        *("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "DEISMultistepScheduler"),
        *("IPNDMScheduler", "DPMSolverSDEScheduler"),
    ),
    made_by={"DDIMPipeline": "DDIMScheduler"},
    keeps_eta=("DDPMPipeline",),
)


class Unconditional:
    """Draw pixels out of noise, −1…1, without guidance.

    Where the scheduler ``scales``, it says how wide the first noise is, and scales what the
    denoiser gets.
    """

    def __init__(
        self,
        components: Components,
        request: Request,
        *,
        schedulers: SchedulerRules = SCHEDULERS,
        scales: bool = False,
    ) -> None:
        check_plain(request, "this model")
        refused = {
            "prompt": request.prompts,
            "negative prompt": request.negative_prompt,
            "picture": request.image,
            "mask": request.mask,
        }
        for name, value in refused.items():
            if value is not None:
                raise RunnerFailure(
                    "bad-request", f"This model takes no {name}.", f"Leave the {name} out."
                )
        package = components.package
        generation = package.generation
        self._components = components
        self._request = request
        self._scheduler = open_scheduler(package, request, schedulers)
        self._scales = scales
        steps = request.steps or generation.steps
        width, height = request.width or generation.width, request.height or generation.height
        check_size(package, width, height)
        set_timesteps(self._scheduler, steps)
        check_start(self._scheduler, self._scheduler.timesteps[0])
        self._shape = (1, generation.latent_channels, height, width)
        self._cache_interval = cache_interval_of(request, package)
        self.components = denoiser_names(package, self._cache_interval)
        self.plan = Plan(width, height, steps, 1.0, self._scheduler)

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Return the class of image, where there are some: there is no text."""
        label = self._request.class_label
        if label is None:
            return Conditioning({})
        return Conditioning({"class_labels": np.array([label], dtype=np.int64)})

    def prepare(self, seed: int) -> Start:
        """Draw the noise of one image."""
        set_timesteps(self._scheduler, self.plan.steps)
        noise = generator(seed)
        latents = first_noise(self._request, self._shape, noise)
        if self._scales:
            latents = latents * np.float32(self._scheduler.init_noise_sigma)
        return Start(latents, noise)

    def denoise(self, conditioning: Conditioning, start: Start) -> Iterator[Step]:
        """Yield after each step; see `Pipeline.denoise`."""
        denoiser = Denoiser(
            self._components, conditioning, Guidance(1.0), cache_interval=self._cache_interval
        )
        timesteps = self._scheduler.timesteps
        return denoise(
            self._components,
            denoiser,
            self._scheduler,
            timesteps,
            start,
            scales_input=self._scales,
        )

    def decode(self, latents: Array) -> Array:
        """Return the sample itself: it is the image."""
        return latents
