"""PixArt-Alpha and PixArt-Sigma: text to image with a transformer, at the size that is asked for.

Source: diffusers/pipelines/pixart_alpha/pipeline_pixart_{alpha,sigma}.py, called with
``use_resolution_binning=False`` and ``clean_caption=False``: a caption is lower-cased and stripped,
and neither links nor HTML are taken out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..request import Request
from ..residency import Components
from .autoencoder import Autoencoder
from .base import Plan, Start, Step, denoise, names_of
from .denoiser import Conditioning, Denoiser, guidance_of
from .feature_cache import cache_interval_of
from .scheduler import SchedulerRules, open_scheduler
from .starts import Starts
from .text import TextEncoder, check_plain

Array = npt.NDArray[Any]

SCHEDULERS = SchedulerRules(drops_variance=True)


class PixArt:
    """Draw with T5; the variance that the transformer learned is dropped."""

    def __init__(self, components: Components, request: Request) -> None:
        package = components.package
        self._components = components
        self._request = request
        check_plain(request, "PixArt")
        self._scheduler = open_scheduler(package, request, SCHEDULERS)
        self._starts = starts = Starts(components, request, self._scheduler, {})
        self._autoencoder = Autoencoder(components)
        encoder = package.by_role("text_encoder")
        self._text = TextEncoder(components, encoder, "t5")
        self._sizes = self._resolution(starts.height, starts.width)
        scale = starts.guidance
        self._guidance = guidance_of(scale, request, package.generation)
        self._cache_interval = cache_interval_of(request, package)
        self.plan = Plan(starts.width, starts.height, starts.steps, scale, self._scheduler)
        self.components = (encoder.name, *names_of(package, self._cache_interval))

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Encode the prompt and, with guidance, the negative one, with their attention masks."""
        if prompt is None:
            raise RunnerFailure("bad-request", "This model draws from a prompt.", "Give --prompt.")
        positive, cut = self._encode(prompt)
        if self._guidance.scale <= 1:
            return Conditioning(positive, None, (cut,) if cut else ())
        negative, negative_cut = self._encode(self._request.negative_prompt or "")
        return Conditioning(positive, negative, tuple(c for c in (cut, negative_cut) if c))

    def prepare(self, seed: int) -> Start:
        """Begin an image; see `Pipeline.prepare`."""
        start = self._starts.begin(seed)
        if self._components.package.pipeline_class == "PixArtAlphaPipeline":
            self._scheduler.set_begin_index(0)
        return start

    def denoise(self, conditioning: Conditioning, start: Start) -> Iterator[Step]:
        """Yield after each step; see `Pipeline.denoise`."""
        channels = self._components.package.generation.latent_channels
        denoiser = Denoiser(
            self._components,
            conditioning,
            self._guidance,
            channels=channels,
            cache_interval=self._cache_interval,
        )
        return denoise(self._components, denoiser, self._scheduler, self._starts.timesteps, start)

    def decode(self, latents: Array) -> Array:
        """Return the image in −1…1, (1, 3, height, width)."""
        return self._autoencoder.decode(latents)

    def _encode(self, prompt: str) -> tuple[dict[str, Array], str]:
        states, mask, cut = self._text.masked(prompt.lower().strip())
        row = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        return {**row, **self._sizes}, cut

    def _resolution(self, height: int, width: int) -> dict[str, Array]:
        """Return the size, (1, 2), and its ratio, (1, 1), where the transformer takes them."""
        if "resolution" not in self._components.package.by_role("denoiser").inputs:
            return {}
        return {
            "resolution": np.array([[height, width]], np.float32),
            "aspect_ratio": np.array([[height / width]], np.float32),
        }
