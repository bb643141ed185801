"""Calls of the denoiser: one prediction a step, guided or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..residency import Components
from ..schedulers.guidance import classifier_free_guidance, rescale_noise_cfg

Array = npt.NDArray[Any]
_MOMENT_DTYPES = {"float32": np.float32, "int64": np.int64}
Row = Mapping[str, Array]
"""Inputs of one prediction by name, each (1, …)."""


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: how strong, how much of it is taken back, and how it is batched."""

    scale: float
    rescale: float = 0.0
    batch: int = 2


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
    learned comes after them, and some of diffusers' pipelines drop it.
    """

    def __init__(
        self,
        components: Components,
        conditioning: Conditioning,
        guidance: Guidance,
        *,
        channels: Optional[int] = None,
    ) -> None:
        self._components = components
        self._component = components.package.by_role("denoiser")
        self._channels = channels
        self._guidance = guidance
        rows = [conditioning.positive]
        if conditioning.negative is not None:
            rows.insert(0, conditioning.negative)  # diffusers' order: without, with the prompt
        self._guided = len(rows) == 2
        fixed = self._component.inputs["sample"].shape[0]
        self._batch = fixed if isinstance(fixed, int) else min(guidance.batch, len(rows))
        self._chunks = [
            _stack(rows[start : start + self._batch], self._batch)
            for start in range(0, len(rows), self._batch)
        ]
        self._rows = len(rows)

    def predict(self, sample: Array, timestep: Any, extra: Sequence[Array] = ()) -> Array:
        """Return the prediction, after guidance, for a sample (1, channels, height, width).

        ``extra`` channels (an inpainting model's mask and masked picture) are joined to it.
        """
        joined = np.concatenate([sample, *extra], axis=1) if extra else sample
        batched = np.concatenate([joined] * self._batch) if self._batch > 1 else joined
        moment = {"sample": batched, "timestep": self._moment(timestep)}
        output = self._component.first_output
        predictions = [
            self._components.run(self._component.name, {**moment, **chunk}, [output])[output]
            for chunk in self._chunks
        ]
        both = predictions[0] if len(predictions) == 1 else np.concatenate(predictions)
        if self._channels is not None:
            both = both[:, : self._channels]
        if not self._guided:
            return both[:1]
        uncond, cond = both[:1], both[1:2]
        guided = classifier_free_guidance(uncond, cond, self._guidance.scale)
        if self._guidance.rescale > 0.0:
            guided = rescale_noise_cfg(guided, cond, self._guidance.rescale)
        return guided

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


def _stack(rows: Sequence[Row], batch: int) -> dict[str, Array]:
    """Join rows along the batch; the last is repeated where a fixed batch wants more."""
    filled = [*rows, *[rows[-1]] * (batch - len(rows))]
    if batch == 1:
        return dict(filled[0])
    return {name: np.concatenate([row[name] for row in filled]) for name in filled[0]}
