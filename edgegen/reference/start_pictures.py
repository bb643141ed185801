"""Writes what a pipeline starts from that doesn't start from noise; torch isn't needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from edgegen_runner.generation import PICTURE_NAMES, PICTURES
from edgegen_runner.png import encode_png

from edgegen.core.files import translate_disk_errors
from edgegen.core.model import PipelineSpec
from edgegen.drawer import Pixels
from edgegen.reference import golden

_PROMPT_PX = 224
"""As CLIP's image encoders take it: nothing is resized, which Pillow's releases round apart."""


def write_start_pictures(spec: PipelineSpec, destination: Path, *, width: int, height: int) -> None:
    """Write what an image of `width` × `height` starts from.

    That is slopes and a disc, in small where they are enlarged; behind a mask a white rectangle,
    and of depth how near the disc is. Of what steers it, white outlines on black are written.
    Nothing is for a pipeline that starts from noise and that no picture steers. Raises
    ResourceError.
    """
    start = spec.facts.starts[0]
    enlarged = {"upscale": spec.generation.vae_scale_factor, "upscale-latents": 2}.get(start, 1)
    width, height = width // enlarged, height // enlarged
    with translate_disk_errors(destination):
        for name in PICTURES[start]:
            picture = encode_png(_DRAWN[name](width, height))
            (destination / PICTURE_NAMES[name]).write_bytes(picture)
        if spec.facts.takes_picture_prompt:
            picture = encode_png(_input_picture(_PROMPT_PX, _PROMPT_PX))
            (destination / PICTURE_NAMES["picture_prompt"]).write_bytes(picture)
        for index in range(spec.facts.controls):
            picture = encode_png(_control_picture(width, height, index))
            (destination / golden.control_name(index)).write_bytes(picture)


def _input_picture(width: int, height: int) -> Pixels:
    rows = np.linspace(0, 1, height)[:, None]
    columns = np.linspace(0, 1, width)[None, :]
    disc = ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1) * 0.5
    channels = (rows + 0 * columns, columns + 0 * rows, 0.25 + disc)
    return np.stack([(channel * 255).astype(np.uint8) for channel in channels], axis=-1)


def _control_picture(width: int, height: int, index: int) -> Pixels:
    """Return a ring as an edge detector leaves it, a smaller one for each further picture."""
    rows = np.linspace(-1, 1, height)[:, None]
    columns = np.linspace(-1, 1, width)[None, :]
    radius = 0.7 / (index + 1)
    ring = np.abs(np.sqrt(rows**2 + columns**2) - radius) < 0.08
    return np.repeat((ring * 255).astype(np.uint8)[:, :, None], 3, axis=2)


def _mask_picture(width: int, height: int) -> Pixels:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 :] = 255
    return pixels


def _depth_picture(width: int, height: int) -> Pixels:
    """Return a floor that comes nearer towards the lower edge, and a disc before it."""
    rows = np.linspace(0, 1, height)[:, None]
    columns = np.linspace(0, 1, width)[None, :]
    disc = (rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1
    near = np.where(disc, 0.9, 0.6 * rows + 0 * columns)
    return (near * 255).astype(np.uint8)[:, :, None]


_DRAWN: Mapping[str, Callable[[int, int], Pixels]] = {
    "image": _input_picture,
    "mask": _mask_picture,
    "depth": _depth_picture,
}
