"""Stable Diffusion's latent upscaler: a picture twice as large, by a preconditioned denoiser.

Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_latent_upscale.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..request import Request
from ..residency import Components
from ..schedulers import Scheduler
from .autoencoder import Autoencoder
from .base import Plan, Start, Step, denoise, names_of
from .denoiser import Conditioning, Denoiser, guidance_of
from .feature_cache import cache_interval_of
from .scheduler import SchedulerRules, open_scheduler
from .starts import Starts, start_kind
from .text import TextEncoder, check_plain

Array = npt.NDArray[Any]

SCHEDULERS = SchedulerRules(only="EulerDiscreteScheduler", drops=1)

_LEVEL = np.repeat(np.array([[1.0, 0.0]], dtype=np.float32), 64, axis=1)
"""What says that the picture has no noise; the pooled text comes behind it."""


class LatentUpscale:
    """Draw with one text encoder, beside the latents of the picture that is enlarged."""

    def __init__(self, components: Components, request: Request) -> None:
        package = components.package
        self._components = components
        self._request = request
        check_plain(request, "the latent upscaler")
        kind = start_kind(package, request)
        self._scheduler = open_scheduler(package, request, SCHEDULERS, kind)
        self._starts = starts = Starts(components, request, self._scheduler, {})
        self._autoencoder = Autoencoder(components)
        encoder = package.by_role("text_encoder")
        self._text = TextEncoder(components, encoder)
        self._guidance = guidance_of(starts.guidance, request, package.generation)
        self._cache_interval = cache_interval_of(request, package)
        self.plan = Plan(
            starts.width, starts.height, starts.steps, starts.guidance, self._scheduler
        )
        names = names_of(package, self._cache_interval)
        self.components = (encoder.name, *starts.components, *names)

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Encode the prompt and, with guidance, the negative one; without any, an empty one."""
        if prompt is None:
            raise RunnerFailure("bad-request", "This model draws from a prompt.", "Give --prompt.")
        positive, cut = self._encode("" if self._guidance.scale == 0 else prompt)
        if self._guidance.scale <= 1:
            return Conditioning(positive, None, (cut,) if cut else ())
        negative, negative_cut = self._encode(self._request.negative_prompt or "")
        return Conditioning(positive, negative, tuple(c for c in (cut, negative_cut) if c))

    def prepare(self, seed: int) -> Start:
        """Begin an image; see `Pipeline.prepare`."""
        return self._starts.begin(seed)

    def denoise(self, conditioning: Conditioning, start: Start) -> Iterator[Step]:
        """Yield after each step; see `Pipeline.denoise`."""
        denoiser = Denoiser(
            self._components,
            conditioning,
            self._guidance,
            channels=self._components.package.generation.latent_channels,
            cache_interval=self._cache_interval,
        )
        preconditioned = Preconditioned(denoiser, self._scheduler)
        timesteps = self._starts.timesteps
        return denoise(self._components, preconditioned, self._scheduler, timesteps, start)

    def decode(self, latents: Array) -> Array:
        """Return the image in −1…1, (1, 3, height, width)."""
        return self._autoencoder.decode(latents)

    def _encode(self, prompt: str) -> tuple[dict[str, Array], str]:
        states, pooled, cut = self._text.last(prompt)
        told = np.concatenate([_LEVEL, pooled], axis=1)
        return {"encoder_hidden_states": states, "timestep_cond": told}, cut


class Preconditioned:
    """Turn what a denoiser predicts into the sample (arXiv 2206.00364, table 1)."""

    def __init__(self, denoiser: Denoiser, scheduler: Scheduler) -> None:
        self._denoiser = denoiser
        self._scheduler: Any = scheduler
        self.guides = denoiser.guides
        self.computes_all = denoiser.computes_all
        self.control_scales = denoiser.control_scales

    def predict(
        self,
        sample: Array,
        timestep: Any,
        extra: Sequence[Array] = (),
        *,
        guided: bool = True,
        whole: bool = True,
        scales: Sequence[float] = (),
    ) -> Array:
        """Return the original sample that is predicted for a scaled one; see `Denoiser.predict`."""
        place = int(np.nonzero(self._scheduler.timesteps == timestep)[0][0])
        sigma = np.float32(self._scheduler.sigmas[place])
        moment = np.log(sigma) * np.float32(0.25)
        predicted = self._denoiser.predict(
            sample, moment, extra, guided=guided, whole=whole, scales=scales
        )
        width = np.sqrt(sigma * sigma + np.float32(1))
        original: Array = (sample + sigma * predicted) / width
        return original
