"""Calls of the denoiser: one prediction a step, guided or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..generation import Generation, guided_calls
from ..request import Request
from ..residency import Components
from ..schedulers.guidance import (
    classifier_free_guidance,
    guidance_by_picture,
    rescale_noise_cfg,
)
from .control import Controls
from .feature_cache import FEATURES, FeatureCache

Array = npt.NDArray[Any]
_MOMENT_DTYPES = {"float32": np.float32, "int64": np.int64}
Row = Mapping[str, Array]
"""Inputs of one prediction by name, each (1, …)."""


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: how strong, how much of it is taken back, and how it is batched.

    Of the calls of an image those from ``start`` to ``stop``, 0…1, are guided. With a
    ``picture_scale`` a third prediction sees no picture beside the sample, either.
    """

    scale: float
    rescale: float = 0.0
    batch: int = 2
    start: float = 0.0
    stop: float = 1.0
    picture_scale: Optional[float] = None


def guidance_of(scale: float, request: Request, generation: Generation) -> Guidance:
    """Return how an image is guided: as the request says, else as the package does.

    Raises RunnerFailure (bad-request) where guidance would stop before it starts.
    """
    start, stop = (
        own if asked is None else asked
        for asked, own in (
            (request.guidance_start, generation.guidance_start),
            (request.guidance_stop, generation.guidance_stop),
        )
    )
    if start >= stop:
        raise RunnerFailure(
            "bad-request",
            f"Guidance would start at {start:g} of the steps and stop at {stop:g}.",
            "Give a start below the stop, or --guidance 1 for none at all.",
        )
    picture_scale = generation.image_guidance
    if picture_scale is not None and request.image_guidance is not None:
        picture_scale = request.image_guidance
    return Guidance(
        scale, request.guidance_rescale, request.guidance_batch, start, stop, picture_scale
    )


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told besides the sample; ``negative`` is None without guidance."""

    positive: Row
    negative: Optional[Row] = None
    cut: tuple[str, ...] = field(default=())
    """The ends of prompts that did not fit into the text encoder."""


class Denoiser:
    """Predict with a fixed conditioning, in as few calls as the guidance's batch allows.

    Of a prediction the first ``channels`` are kept, where that is given: a variance that was
    learned comes after them, and some of diffusers' pipelines drop it. It is of one image: of each
    ``cache_interval`` calls the first leaves its features to the others. ``controls`` steer it.
    """

    def __init__(
        self,
        components: Components,
        conditioning: Conditioning,
        guidance: Guidance,
        *,
        channels: Optional[int] = None,
        cache_interval: int = 1,
        controls: Optional[Controls] = None,
    ) -> None:
        self._components = components
        self._component = components.package.by_role("denoiser")
        self._channels = channels
        self._guidance = guidance
        self._cache = FeatureCache(components.package, cache_interval)
        self._controls = controls
        if controls is not None:
            controls.begin()
        rows = [conditioning.positive]
        fixed = self._component.inputs["sample"].shape[0]
        alone = fixed if isinstance(fixed, int) else 1
        self._plain = [_stack(rows, alone)]
        if conditioning.negative is not None:
            rows.insert(0, conditioning.negative)  # diffusers' order: without, with the prompt
            if guidance.picture_scale is not None:
                rows.insert(0, conditioning.negative)
        self._guided = len(rows) > 1
        self._rows = len(rows)
        at_once = len(rows) if guidance.batch > 1 else 1
        batch = fixed if isinstance(fixed, int) else at_once
        self._chunks = [
            _stack(rows[start : start + batch], batch) for start in range(0, len(rows), batch)
        ]
        self._batch, self._alone = batch, alone

    def guides(self, index: int, calls: int) -> bool:
        """Return whether a call of an image, of so many, looks at the negative prompt, too."""
        return self._guided and index in self._guided_calls(calls)

    def control_scales(self, index: int, calls: int) -> Sequence[float]:
        """Return how strongly each ControlNet acts in a call of an image, of so many."""
        return () if self._controls is None else self._controls.scales(index, calls)

    def computes_all(self, index: int, calls: int) -> bool:
        """Return whether a call of an image, of so many, computes all of the network's layers."""
        return self._cache.computes_all(index, self._guided_calls(calls))

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
        """Return the prediction for a sample (1, channels, height, width).

        ``extra`` channels (an inpainting model's mask and masked picture) are joined to it. Where
        it is not ``guided`` the denoiser is told the prompt alone; where it is not ``whole`` it
        computes its last layer, on the features of the last call that was. ``scales`` are those of
        ControlNets, which see the sample without ``extra``.
        """
        guided = guided and self._guided
        batch, chunks = (self._batch, self._chunks) if guided else (self._alone, self._plain)
        rows = self._rows if guided else 1
        moment = self._moment(timestep)
        inputs: list[Row] = [
            {"sample": given, "timestep": moment, **chunk}
            for given, chunk in zip(_chunked([sample] * rows, batch), chunks)
        ]
        if self._controls is not None:
            inputs = self._controls.steer(inputs, scales, guided=guided)
        if extra:
            joined = _chunked(_beside(sample, extra, rows), batch)
            inputs = [{**each, "sample": given} for each, given in zip(inputs, joined)]
        every = self._whole(inputs, rows) if whole else self._shallow(inputs, batch, rows)
        if self._channels is not None:
            every = every[:, : self._channels]
        if not guided:
            return every[:1]
        *blind, uncond, cond = (every[row : row + 1] for row in range(rows))
        picture_scale = self._guidance.picture_scale
        if picture_scale is None:
            prediction = classifier_free_guidance(uncond, cond, self._guidance.scale)
        else:
            prediction = guidance_by_picture(
                blind[0], uncond, cond, self._guidance.scale, picture_scale
            )
        if self._guidance.rescale > 0.0:
            prediction = rescale_noise_cfg(prediction, cond, self._guidance.rescale)
        return prediction

    def _guided_calls(self, calls: int) -> range:
        """Return the calls of an image, of so many, that would be guided if any were."""
        if not self._guided:
            return range(calls)
        return guided_calls(self._guidance.start, self._guidance.stop, calls)

    def _whole(self, chunks: Sequence[Row], rows: int) -> Array:
        output, caches = self._component.first_output, self._cache.shallow is not None
        wanted = [output, FEATURES] if caches else [output]
        given = self._components.run_each(self._component.name, chunks, wanted)
        if caches:
            self._cache.keep(_joined([it[FEATURES] for it in given]), rows)
        return _joined([it[output] for it in given])

    def _shallow(self, chunks: Sequence[Row], batch: int, rows: int) -> Array:
        component = self._cache.shallow
        assert component is not None  # else every call is a whole one
        output = component.first_output
        kept = self._cache.chunks(rows, batch)
        calls = [{**chunk, FEATURES: features} for chunk, features in zip(chunks, kept)]
        given = self._components.run_each(component.name, calls, [output])
        return _joined([it[output] for it in given])

    def _moment(self, timestep: Any) -> Array:
        """Return a timestep in the type and shape that the package wants.

        Raises RunnerFailure (bad-request) for a fraction where it takes whole numbers alone.
        """
        wanted = self._component.inputs["timestep"]
        if wanted.dtype == "int64" and float(timestep) != int(timestep):
            raise RunnerFailure(
                "bad-request",
                f"This scheduler asks for the timestep {float(timestep):g}, and the package takes "
                "whole ones, as its format's own pipelines do.",
                "Take another scheduler: ddim, pndm, dpmsolver++, unipc or lcm.",
            )
        shape = [axis if isinstance(axis, int) else 1 for axis in wanted.shape]
        return np.full(shape, timestep, dtype=_MOMENT_DTYPES[wanted.dtype])


def _joined(chunks: Sequence[Array]) -> Array:
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _beside(sample: Array, extra: Sequence[Array], rows: int) -> list[Array]:
    """Return the sample of each prediction, with what it sees beside it; a third is blind."""
    joined = np.concatenate([sample, *extra], axis=1)
    if rows < 3:
        return [joined] * rows
    blind = np.concatenate([sample, *map(np.zeros_like, extra)], axis=1)
    return [blind, *[joined] * (rows - 1)]


def _chunked(samples: Sequence[Array], batch: int) -> list[Array]:
    """Join samples along the batch; the last is repeated where a fixed batch wants more."""
    filled = [*samples, *[samples[-1]] * (-len(samples) % batch)]
    return [_joined(filled[start : start + batch]) for start in range(0, len(filled), batch)]


def _stack(rows: Sequence[Row], batch: int) -> dict[str, Array]:
    """Join rows along the batch; the last is repeated where a fixed batch wants more."""
    if batch == 1:
        return dict(rows[0])
    filled = [*rows, *[rows[-1]] * (batch - len(rows))]
    return {name: np.concatenate([row[name] for row in filled]) for name in filled[0]}
