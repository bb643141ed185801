"""The pictures that image-to-image and inpainting start from, as diffusers prepares them.

Sources: diffusers/image_processor.py (``VaeImageProcessor.preprocess``); for the resizing, Pillow's
src/libImaging/Resample.c (``ImagingResample`` of 8-bit pictures, Lanczos and bicubic filters), bit
for bit, in the order of Pillow up to 12: across, then down. Pillow 13 sometimes goes down first,
and rounds a few levels otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from .errors import RunnerFailure

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_PRECISION_BITS = 32 - 8 - 2


@dataclass(frozen=True)
class Kernel:
    """A filter of Pillow's: how far it reaches, in old pixels, and what it weighs there."""

    support: float
    weigh: Callable[[float], float]


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3.0) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


def _bicubic(x: float) -> float:
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


LANCZOS, BICUBIC = Kernel(3.0, _lanczos), Kernel(2.0, _bicubic)


def read_picture(path: Path) -> Pixels:
    """Read a PNG file as (height, width, channels): gray or RGB, each with alpha or not.

    Raises RunnerFailure (bad-request) where it is missing, or not such a file.
    """
    from .png_reader import read_png  # most images begin in no picture

    try:
        return read_png(path)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            "bad-request",
            f"The picture {path} cannot be used: {error}",
            "Give a PNG file; of other kinds, `edgegen run` makes one first.",
        ) from error


def read_levels(path: Path) -> npt.NDArray[Any]:
    """Read a PNG file as (height, width, channels) in all its levels, 256 or 65,536.

    Raises RunnerFailure (bad-request) where it is missing, or not such a file.
    """
    from .png_reader import read_deep_png  # most images begin in no picture

    try:
        return read_deep_png(path)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            "bad-request", f"The picture {path} cannot be used: {error}", "Give a PNG file."
        ) from error


def to_gray_levels(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (height, width) of gray levels, as many as the picture has; alpha is dropped."""
    if pixels.shape[2] < 3:
        return pixels[:, :, 0]
    if pixels.dtype == np.uint8:
        return to_gray(pixels)[:, :, 0]
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    luma: npt.NDArray[Any] = pixels[:, :, :3].astype(np.float32) @ weights
    return luma


def to_rgb(pixels: Pixels) -> Pixels:
    """Return (height, width, 3): gray is repeated, transparency is dropped."""
    return np.repeat(pixels[:, :, :1], 3, axis=2) if pixels.shape[2] < 3 else pixels[:, :, :3]


def to_gray(pixels: Pixels) -> Pixels:
    """Return (height, width, 1) in ITU-R 601 luma, in Pillow's fixed-point arithmetic."""
    if pixels.shape[2] < 3:
        return pixels[:, :, :1]
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    luma = (pixels[:, :, :3].astype(np.uint32) * weights).sum(axis=2, dtype=np.uint32) + 0x8000
    gray: Pixels = (luma >> np.uint32(16)).astype(np.uint8)
    return gray[:, :, None]


def to_model_range(pixels: Pixels) -> Array:
    """Return (1, channels, height, width) in −1…1, of pixels (height, width, channels)."""
    values = pixels.astype(np.float32) / np.float32(255.0)
    return np.ascontiguousarray((values * 2 - 1).transpose(2, 0, 1)[None])


def to_levels(pixels: Pixels) -> Array:
    """Return (1, channels, height, width) in 0…1, of pixels (height, width, channels)."""
    values = pixels.astype(np.float32) / np.float32(255.0)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def to_mask(pixels: Pixels) -> Array:
    """Return (1, 1, height, width) of 0 and 1, of gray pixels; white is where to draw anew."""
    values = pixels.astype(np.float32) / np.float32(255.0)
    mask: Array = (values >= 0.5).astype(np.float32)
    return np.ascontiguousarray(mask.transpose(2, 0, 1)[None])


def nearest_resize(values: Array, height: int, width: int) -> Array:
    """Return (batch, channels, height, width) with the nearest values, as torch's interpolate."""
    rows = np.arange(height) * values.shape[2] // height
    columns = np.arange(width) * values.shape[3] // width
    return np.ascontiguousarray(values[:, :, rows][:, :, :, columns])


def resize(pixels: Pixels, height: int, width: int, kernel: Kernel = LANCZOS) -> Pixels:
    """Return (height, width, channels) with a filter of Pillow's: across, then down."""
    if pixels.shape[1] != width:
        pixels = _resample(pixels.transpose(1, 0, 2), width, kernel).transpose(1, 0, 2)
    if pixels.shape[0] != height:
        pixels = _resample(pixels, height, kernel)
    return np.ascontiguousarray(pixels)


def _resample(pixels: npt.NDArray[np.uint8], size: int, kernel: Kernel) -> npt.NDArray[np.uint8]:
    """Resample the first axis of (rows, columns, channels) to a size."""
    half = np.int64(1 << (_PRECISION_BITS - 1))
    result = np.empty((size, *pixels.shape[1:]), np.uint8)
    for row, (first, weights) in enumerate(_windows(pixels.shape[0], size, kernel)):
        window = pixels[first : first + len(weights)].astype(np.int64)
        total = np.tensordot(weights, window, axes=(0, 0)) + half
        result[row] = np.clip(total >> _PRECISION_BITS, 0, 255)
    return result


def _windows(before: int, after: int, kernel: Kernel) -> list[tuple[int, npt.NDArray[Any]]]:
    """Return for each new place the first old one and the fixed-point weights from there on."""
    scale = before / after
    stretch = max(scale, 1.0)
    shrink = 1.0 / stretch
    support = kernel.support * stretch
    windows = []
    for place in range(after):
        centre = (place + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), before)
        raw = [kernel.weigh((x + first - centre + 0.5) * shrink) for x in range(last - first)]
        total = sum(raw)
        exact = [value / total * (1 << _PRECISION_BITS) for value in raw]
        rounded = [int(value - 0.5) if value < 0 else int(value + 0.5) for value in exact]
        windows.append((first, np.array(rounded, dtype=np.int64)))
    return windows
