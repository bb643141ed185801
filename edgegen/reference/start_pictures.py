"""Writes what a pipeline starts from that doesn't start from noise; torch isn't needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from edgegen_runner.png import encode_png

from edgegen.core.files import translate_disk_errors
from edgegen.core.model import FamilyFacts
from edgegen.drawer import Pixels
from edgegen.reference import golden


def write_start_pictures(facts: FamilyFacts, destination: Path, *, width: int, height: int) -> None:
    """Write what an image starts from: slopes and a disc and, behind a mask, a white rectangle.

    Of what steers it, white outlines on black are written. Nothing is for a pipeline that starts
    from noise and that no picture steers. Raises ResourceError.
    """
    start = facts.starts[0]
    with translate_disk_errors(destination):
        if start != "noise":
            picture = encode_png(_input_picture(width, height))
            (destination / golden.INPUT_IMAGE_NAME).write_bytes(picture)
        if start == "mask":
            mask = encode_png(_mask_picture(width, height))
            (destination / golden.MASK_IMAGE_NAME).write_bytes(mask)
        for index in range(facts.controls):
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
