"""Stable Diffusion 1.x and 2.x: text to image, image to image, inpainting, and what edits pictures.

Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion{,_img2img,_inpaint,
_instruct_pix2pix,_upscale,_depth2img}.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy.typing as npt

from ..errors import RunnerFailure
from ..request import Request
from ..residency import Components
from .autoencoder import Autoencoder
from .base import Plan, Start, Step, denoise, names_of
from .control import Controls
from .denoiser import Conditioning, Denoiser, guidance_of
from .feature_cache import cache_interval_of
from .guidance_embedding import guidance_embedding
from .picture_prompt import PicturePrompt
from .scheduler import SchedulerRules, open_scheduler
from .starts import Starts, Strengths, start_kind
from .text import TextEncoder, TextSettings, as_long_as_each_other

Array = npt.NDArray[Any]

STRENGTHS = {"picture": 0.8, "mask": 1.0, "depth": 0.8}
NO_CONTROL: Mapping[str, float] = {}
SCHEDULERS = SchedulerRules(
    corrections={
        "noise": {"steps_offset": 1, "clip_sample": False},
        "picture": {"steps_offset": 1, "clip_sample": False},
        "mask": {"steps_offset": 1, "skip_prk_steps": True},
    }
)


class StableDiffusion:
    """Draw with one text encoder; a mask works with 9-channel and with plain UNets."""

    def __init__(
        self,
        components: Components,
        request: Request,
        *,
        schedulers: SchedulerRules = SCHEDULERS,
        strengths: Strengths = STRENGTHS,
        strength_spaces_steps: bool = False,
        control_scales: Mapping[str, float] = NO_CONTROL,
    ) -> None:
        package = components.package
        self._components = components
        self._request = request
        kind = start_kind(package, request)
        self._scheduler = open_scheduler(package, request, schedulers, kind)
        self._starts = Starts(
            components,
            request,
            self._scheduler,
            strengths,
            strength_spaces_steps=strength_spaces_steps,
        )
        self._controls = Controls(
            components,
            request,
            width=self._starts.width,
            height=self._starts.height,
            scale=control_scales.get(kind, 1.0),
        )
        self._picture = PicturePrompt(components, request)
        self._autoencoder = Autoencoder(components)
        encoder = package.by_role("text_encoder")
        self._text = TextEncoder(components, encoder)
        self._settings = TextSettings.of(request)
        self._embedding_dim = package.generation.guidance_embedding_dim
        starts = self._starts
        scale = starts.guidance
        self._guidance = guidance_of(scale, request, package.generation)
        self._cache_interval = cache_interval_of(request, package)
        self.plan = Plan(starts.width, starts.height, starts.steps, scale, self._scheduler)
        names = names_of(package, self._cache_interval)
        self.components = (
            *(encoder.name, *self._picture.names),
            *(*starts.components, *self._controls.names, *names),
        )

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Encode the prompt and, with guidance, the negative one."""
        if prompt is None:
            raise RunnerFailure("bad-request", "This model draws from a prompt.", "Give --prompt.")
        embedding = self._starts.conditions
        if self._embedding_dim is not None:
            embedding["timestep_cond"] = guidance_embedding(
                self._guidance.scale, self._embedding_dim
            )
        prompts = [prompt]
        if self._guidance.scale > 1 and self._embedding_dim is None:
            prompts.append(self._request.negative_prompt or "")
        readings = [self._text.read(each, self._settings.syntax) for each in prompts]
        room = self._components.package.by_role("denoiser").inputs["encoder_hidden_states"].shape
        (readings,) = as_long_as_each_other([self._text], [readings], room[1] if room else None)
        skips = (self._settings.clip_skip, self._settings.for_negative().clip_skip)
        rows = [
            {"encoder_hidden_states": self._text.final(reading, skip), **embedding, **shown}
            for reading, skip, shown in zip(readings, skips, self._picture.rows(len(readings)))
        ]
        cut = tuple(reading.cut for reading in readings if reading.cut)
        return Conditioning(rows[0], rows[1] if len(rows) > 1 else None, cut)

    def prepare(self, seed: int) -> Start:
        """Begin an image; see `Pipeline.prepare`."""
        return self._starts.begin(seed)

    def denoise(self, conditioning: Conditioning, start: Start) -> Iterator[Step]:
        """Yield after each step; see `Pipeline.denoise`."""
        denoiser = Denoiser(
            self._components,
            conditioning,
            self._guidance,
            cache_interval=self._cache_interval,
            controls=self._controls,
        )
        return denoise(self._components, denoiser, self._scheduler, self._starts.timesteps, start)

    def decode(self, latents: Array) -> Array:
        """Return the image in −1…1, (1, 3, height, width)."""
        # diffusers' ControlNet pipelines don't show a decoder the picture
        around = None if self._controls.names else self._starts.around
        return self._autoencoder.decode(latents, around)
