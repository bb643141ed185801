"""Stable Diffusion XL: base and refiner; text to image, image to image, inpainting and editing.

Source: diffusers/pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl{,_img2img,_inpaint,
_instruct_pix2pix}.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..generation import REDRAWING
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

STRENGTHS = {"picture": 0.3, "mask": 0.9999}
NO_CONTROL: Mapping[str, float] = {}
SCHEDULERS = SchedulerRules()

AESTHETIC_SCORE = 6.0
NEGATIVE_AESTHETIC_SCORE = 2.5


class StableDiffusionXL:
    """Draw with the text encoders that there are (the refiner has the second alone)."""

    def __init__(
        self,
        components: Components,
        request: Request,
        *,
        strengths: Strengths = STRENGTHS,
        control_scales: Mapping[str, float] = NO_CONTROL,
    ) -> None:
        package = components.package
        self._components = components
        self._request = request
        kind = start_kind(package, request)
        self._scheduler = open_scheduler(package, request, SCHEDULERS, kind)
        self._starts = Starts(
            components, request, self._scheduler, strengths, sized_by_picture=("picture",)
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
        encoders = package.all_of("text_encoder")
        self._settings = TextSettings.of(request)
        self._texts = [TextEncoder(components, encoder) for encoder in encoders]
        self._generation = package.generation
        starts = self._starts
        guidance = starts.guidance
        self._guidance = guidance_of(guidance, request, package.generation)
        self._cache_interval = cache_interval_of(request, package)
        self.plan = Plan(starts.width, starts.height, starts.steps, guidance, self._scheduler)
        names = (encoder.name for encoder in encoders)
        self.components = (
            *(*names, *self._picture.names, *starts.components, *self._controls.names),
            *names_of(package, self._cache_interval),
        )

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Encode the prompt and, with guidance, the negative one; add the sizes and scores."""
        if prompt is None:
            raise RunnerFailure("bad-request", "This model draws from a prompt.", "Give --prompt.")
        guided = self._guidance.scale > 1 and self._generation.guidance_embedding_dim is None
        negative_prompt = self._request.negative_prompt
        zeros = negative_prompt is None and self._generation.force_zeros_for_empty_prompt
        prompts = [prompt, negative_prompt or ""] if guided and not zeros else [prompt]
        encoded, cut = self._encode_all(prompts)
        common = {}
        if self._generation.guidance_embedding_dim is not None:
            common["timestep_cond"] = guidance_embedding(
                self._guidance.scale, self._generation.guidance_embedding_dim
            )
        shown = self._picture.rows(2 if guided else 1)
        score = self._time_ids(AESTHETIC_SCORE)
        positive = {**encoded[0], "time_ids": score, **common, **shown[0]}
        if not guided:
            return Conditioning(positive, None, cut)
        without = {name: np.zeros_like(value) for name, value in encoded[0].items()}
        negative = {
            **(without if zeros else encoded[1]),
            "time_ids": self._time_ids(NEGATIVE_AESTHETIC_SCORE),
            **shown[1],
        }
        return Conditioning(positive, negative, cut)

    def prepare(self, seed: int) -> Start:
        """Begin an image; see `Pipeline.prepare`."""
        start = self._starts.begin(seed)
        if self._starts.kind == "noise":
            self._scheduler.set_begin_index(0)
        return start

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
        return self._autoencoder.decode(latents)

    def _encode_all(self, prompts: list[str]) -> tuple[list[dict[str, Array]], tuple[str, ...]]:
        """Encode prompts with one encoder after the other, so that each is loaded once."""
        states: list[list[Array]] = [[] for _ in prompts]
        pooled: list[Optional[Array]] = [None] * len(prompts)
        cut: dict[str, None] = {}
        skips = (self._settings.clip_skip, self._settings.for_negative().clip_skip)
        room = self._components.package.by_role("denoiser").inputs["encoder_hidden_states"].shape
        read = [
            [text.read(each, self._settings.syntax) for each in prompts] for text in self._texts
        ]
        read = as_long_as_each_other(self._texts, read, room[1] if room else None)
        for text, readings in zip(self._texts, read):
            for place, (reading, skip) in enumerate(zip(readings, skips)):
                state, projected = text.penultimate(reading, skip)
                states[place].append(state)
                if pooled[place] is None:
                    pooled[place] = projected
                if reading.cut:
                    cut[reading.cut] = None
        rows = []
        for parts, projected in zip(states, pooled):
            if projected is None:
                raise RunnerFailure(
                    "bad-package",
                    "No text encoder of this package has the output text_embeds.",
                    "Build the package again.",
                )
            rows.append(
                {
                    "encoder_hidden_states": np.concatenate(parts, axis=-1),
                    "text_embeds": projected,
                }
            )
        return rows, tuple(cut)

    def _time_ids(self, score: float) -> Array:
        """Return original size, crop and target size or aesthetic score, (1, 6) or (1, 5)."""
        size = (self.plan.height, self.plan.width)
        redraws = self._starts.kind in REDRAWING
        scored = self._generation.requires_aesthetics_score and redraws
        last = (score,) if scored else size
        return np.array([[*size, 0.0, 0.0, *last]], dtype=np.float32)
