"""Pictures as CLIP looks at them: the shorter side resized, the middle cut out, colours normalized.

Source: transformers/models/clip/image_processing_clip.py (``CLIPImageProcessor`` with its defaults,
as diffusers makes it of an image encoder's size) and transformers/image_transforms.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from . import images

Array = npt.NDArray[Any]

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of the colours that CLIP was trained with, from 0 to 1."""


def to_clip(pixels: images.Pixels, size: int) -> Array:
    """Return (1, 3, size, size) of pixels (height, width, channels) of any size."""
    rgb = images.to_rgb(pixels)
    height, width = rgb.shape[:2]
    short, long = sorted((height, width))
    longer = int(size * long / short)
    target = (longer, size) if width <= height else (size, longer)
    resized = images.resize(rgb, *target, images.BICUBIC)
    values = _middle(resized, size).astype(np.float64) * (1 / 255)
    mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
    normal = (values.astype(np.float32) - mean) / deviation
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None])


def _middle(pixels: images.Pixels, size: int) -> images.Pixels:
    """Return the middle, (size, size, channels), of a picture that is at least as large."""
    top, left = ((side - size) // 2 for side in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]
