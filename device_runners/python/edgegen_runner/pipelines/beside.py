"""What a denoiser sees beside its sample: a small picture with noise, or a picture's depth.

Sources: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_upscale.py (``__call__``)
and pipeline_stable_diffusion_depth2img.py (``prepare_depth_map``); for the resizing, PyTorch's
aten/src/ATen/native/UpSample.h (bicubic, A = -0.75, corners not aligned).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import images
from ..errors import RunnerFailure
from ..package import Package
from ..request import Request
from ..schedulers import Noise, Scheduler, UnsupportedScheduler, load_scheduler

Array = npt.NDArray[Any]

LOW_RES_SCHEDULER = "low_res_scheduler"
_ONLY = "DDPMScheduler"
_A = np.float32(-0.75)


class SmallPicture:
    """Add the noise of a level to pictures that are enlarged.

    Raises RunnerFailure: ``bad-request`` for a level that the model does not know, ``bad-package``
    where the package lacks the scheduler that adds the noise.
    """

    def __init__(self, package: Package, request: Request) -> None:
        generation = package.generation
        self._scheduler = _low_res_scheduler(package)
        level, most = request.noise_level, generation.most_noise_level
        if level is None:
            level = generation.noise_level or 0
        if most is not None and level > most:
            raise RunnerFailure(
                "bad-request",
                f"The noise level {level} is above {most}, the most that this model knows.",
                f"Give --noise-level 0 to {most}.",
            )
        self.label = np.array([level], dtype=np.int64)

    def noised(self, picture: Array, noise: Noise) -> Array:
        """Return a picture in −1…1 with noise, (1, channels, height, width)."""
        drawn = noise(picture.shape)
        return self._scheduler.add_noise(picture, drawn, int(self.label[0]))


def _low_res_scheduler(package: Package) -> Scheduler:
    config = package.scheduler_config(LOW_RES_SCHEDULER)
    if config.get("_class_name") != _ONLY:
        raise RunnerFailure(
            "unsupported-scheduler",
            f"The noise of small pictures is added by a {config.get('_class_name')}, and this "
            f"pipeline takes a {_ONLY}.",
            f"Save the model with a {_ONLY} as its {LOW_RES_SCHEDULER}.",
        )
    try:
        return load_scheduler(config)
    except UnsupportedScheduler as error:
        raise RunnerFailure("unsupported-scheduler", str(error)) from error


def read_depth(path: Path, height: int, width: int) -> Array:
    """Return a depth map at the size of latents, (1, 1, height, width) in −1…1, nearest is 1.

    Raises RunnerFailure (bad-request) for what is no PNG, and where all of it is equally far.
    """
    pixels = images.read_levels(path)
    levels = images.to_gray_levels(pixels).astype(np.float32)
    depth = _resized(_resized(levels, height, 0), width, 1)
    least, most = depth.min(), depth.max()
    if least == most:
        raise RunnerFailure(
            "bad-request",
            f"The depth map {path} is the same everywhere.",
            "Give a PNG in which near is white and far is black.",
        )
    scaled: Array = np.float32(2) * (depth - least) / (most - least) - np.float32(1)
    return scaled[None, None]


def _resized(values: Array, size: int, axis: int) -> Array:
    """Resize one axis of (height, width) as torch's bicubic ``interpolate`` does."""
    before = values.shape[axis]
    if before == size:
        return values
    places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(before / size)
    places -= np.float32(0.5)
    first = np.floor(places)
    part = places - first
    weights = (_far(part + 1), _near(part), _near(1 - part), _far(2 - part))
    taken = first.astype(np.int64)
    shape = (-1, 1) if axis == 0 else (1, -1)
    result = np.zeros((), np.float32)
    for offset, weight in zip((-1, 0, 1, 2), weights):
        column = np.take(values, np.clip(taken + offset, 0, before - 1), axis)
        result = result + column * weight.reshape(shape).astype(np.float32)
    return result


def _near(x: Array) -> Array:
    near: Array = ((_A + 2) * x - (_A + 3)) * x * x + 1
    return near


def _far(x: Array) -> Array:
    far: Array = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return far
