"""What every pipeline offers to a session, and the loop that they share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol

import numpy as np
import numpy.random  # numpy would load it when the first image draws
import numpy.typing as npt

from ..arrays import load_array
from ..errors import RunnerFailure
from ..package import Package
from ..request import Request
from ..residency import Components
from ..schedulers import Noise, Scheduler
from ..torch_random import TorchGenerator
from .denoiser import Conditioning
from .feature_cache import SHALLOW

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Step:
    """One call of the scheduler, done. ``runtime_s`` of it was spent inside the runtime."""

    index: int
    of: int
    timestep: float
    latents: Array
    start: float
    end: float
    runtime_s: float


@dataclass(frozen=True)
class Start:
    """Where one image's denoising begins.

    ``extra`` are channels that join every sample; ``keep`` puts back what a mask protects, after
    each step.
    """

    latents: Array
    noise: Noise
    extra: tuple[Array, ...] = ()
    keep: Optional[Callable[[Array, int], Array]] = None


class Pipeline(Protocol):
    """Draws one image after the other; the phases are called in this order."""

    @property
    def components(self) -> tuple[str, ...]:
        """Return the names of the components that this request uses, in order of use."""

    @property
    def plan(self) -> Plan:
        """Return what is drawn: size, steps, guidance, scheduler."""

    def encode(self, prompt: Optional[str]) -> Conditioning:
        """Turn the prompt and the request's negative one into what the denoiser takes."""

    def prepare(self, seed: int) -> Start:
        """Draw the noise of one image and, where there is a picture, encode it."""

    def denoise(self, conditioning: Conditioning, start: Start) -> Iterator[Step]:
        """Yield after each step; the last one's latents are the result."""

    def decode(self, latents: Array) -> Array:
        """Return the image in −1…1, (1, channels, height, width)."""


@dataclass(frozen=True)
class Plan:
    """What a request comes to with a package: every value known."""

    width: int
    height: int
    steps: int
    guidance: float
    scheduler: Scheduler

    @property
    def calls(self) -> int:
        """Return how many times the scheduler steps."""
        return len(self.scheduler.timesteps)


def names_of(package: Package, cache_interval: int = 1) -> tuple[str, ...]:
    """Return the names of the denoiser's components and the decoder's, in order of use."""
    return (*denoiser_names(package, cache_interval), package.by_role("decoder").name)


def denoiser_names(package: Package, cache_interval: int) -> tuple[str, ...]:
    """Return the names of the denoiser's components that an image uses, in order of use."""
    whole = package.by_role("denoiser").name
    return (whole, package.by_role(SHALLOW).name) if cache_interval > 1 else (whole,)


def generator(seed: int) -> Noise:
    """Return the draws of one image: torch's CPU generator."""
    return TorchGenerator(seed).randn


def set_timesteps(scheduler: Scheduler, steps: int, **options: Any) -> None:
    """Plan a trajectory.

    Raises RunnerFailure (bad-request) where the scheduler cannot make so many steps.
    """
    try:
        scheduler.set_timesteps(steps, **options)
    except ValueError as error:
        raise RunnerFailure("bad-request", str(error), "Choose other steps (--steps).") from error
    if not np.isfinite(scheduler.timesteps).all():
        raise RunnerFailure(
            "bad-package",
            f"The options of {scheduler.name} give timesteps that are not numbers.",
            "Check scheduler/scheduler_config.json, or choose another with --scheduler.",
        )


def check_start(scheduler: Scheduler, timestep: Any) -> None:
    """Check that a trajectory can begin at a timestep.

    Raises RunnerFailure (bad-request) where diffusers would divide by zero: at zero SNR, noise that
    is predicted leaves nothing of the original.
    """
    if not scheduler.can_start_at(timestep):
        raise RunnerFailure(
            "bad-request",
            f"{scheduler.name} begins at zero SNR (rescale_betas_zero_snr), where a model that "
            "predicts noise cannot begin.",
            "Choose another with --scheduler: euler, unipc or dpmsolver++.",
        )


def first_noise(request: Request, shape: tuple[int, ...], noise: Noise) -> Array:
    """Return the first latents: the request's own, else drawn.

    Raises RunnerFailure (bad-request) where the file is missing or of another shape.
    """
    if request.latents is None:
        return noise(shape)
    latents = load_array(request.latents)
    if latents.shape != shape:
        raise RunnerFailure(
            "bad-request",
            f"The latents {request.latents} are of the shape {latents.shape}, not {shape}.",
            "Their size is the image's by the autoencoder's factor.",
        )
    return latents.astype(np.float32)


def check_size(package: Package, width: int, height: int) -> None:
    """Check that the denoiser takes an image of a size.

    Raises RunnerFailure (bad-request) for a size between two latents, for one that the denoiser
    cannot halve as often as it has levels, and for another than that of a package with fixed
    shapes.
    """
    factor = package.generation.vae_scale_factor
    multiple = factor * package.generation.latent_multiple
    if width % multiple or height % multiple:
        raise RunnerFailure(
            "bad-request",
            f"This model draws widths and heights that are multiples of {multiple}, and "
            f"{width} × {height} is not.",
            f"Use {max(multiple, width // multiple * multiple)} × "
            f"{max(multiple, height // multiple * multiple)}.",
        )
    _, _, rows, columns = package.by_role("denoiser").inputs["sample"].shape
    for axis, fixed, wanted in (("high", rows, height), ("wide", columns, width)):
        if isinstance(fixed, int) and fixed * factor != wanted:
            raise RunnerFailure(
                "bad-request",
                f"This package draws images that are {fixed * factor} pixels {axis}, not {wanted}.",
                f"Its shapes are fixed. For another size, package the model again with "
                f"--width {width} --height {height}.",
            )


class Predictor(Protocol):
    """What a loop asks of a denoiser; see `Denoiser`."""

    @property
    def guides(self) -> Callable[[int, int], bool]:
        """Return `Denoiser.guides`."""

    @property
    def computes_all(self) -> Callable[[int, int], bool]:
        """Return `Denoiser.computes_all`."""

    @property
    def control_scales(self) -> Callable[[int, int], Sequence[float]]:
        """Return `Denoiser.control_scales`."""

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
        """Return the prediction for a sample (1, channels, height, width)."""


def denoise(
    components: Components,
    denoiser: Predictor,
    scheduler: Scheduler,
    timesteps: npt.NDArray[Any],
    start: Start,
    *,
    scales_input: bool = True,
) -> Iterator[Step]:
    """Yield after each step of the scheduler: predict, guide, step.

    ``scales_input`` is false for diffusers' pipelines that do not let the scheduler scale what the
    denoiser gets. The time between two yields is the caller's, and no part of a step.
    """
    latents = start.latents
    for index, timestep in enumerate(timesteps):
        began, runtime_s = time.perf_counter(), components.runtime_s
        sample = latents
        if scales_input:
            sample = scheduler.scale_model_input(latents, timestep)
        prediction = denoiser.predict(
            sample,
            timestep,
            start.extra,
            guided=denoiser.guides(index, len(timesteps)),
            whole=denoiser.computes_all(index, len(timesteps)),
            scales=denoiser.control_scales(index, len(timesteps)),
        )
        latents = scheduler.step(prediction, timestep, latents, start.noise)
        if start.keep is not None:
            latents = start.keep(latents, index)
        yield Step(
            index=index,
            of=len(timesteps),
            timestep=float(timestep),
            latents=latents,
            start=began,
            end=time.perf_counter(),
            runtime_s=components.runtime_s - runtime_s,
        )
