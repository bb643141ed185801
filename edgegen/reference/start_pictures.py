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

    Nothing is written for a pipeline that starts from noise. Raises ResourceError.
    """
    start = facts.starts[0]
    with translate_disk_errors(destination):
        if start != "noise":
            picture = encode_png(_input_picture(width, height))
            (destination / golden.INPUT_IMAGE_NAME).write_bytes(picture)
        if start == "mask":
            mask = encode_png(_mask_picture(width, height))
            (destination / golden.MASK_IMAGE_NAME).write_bytes(mask)


def _input_picture(width: int, height: int) -> Pixels:
    rows = np.linspace(0, 1, height)[:, None]
    columns = np.linspace(0, 1, width)[None, :]
    disc = ((rows - 0.5) ** 2 + (columns - 0.5) ** 2 < 0.1) * 0.5
    channels = (rows + 0 * columns, columns + 0 * rows, 0.25 + disc)
    return np.stack([(channel * 255).astype(np.uint8) for channel in channels], axis=-1)


def _mask_picture(width: int, height: int) -> Pixels:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[height // 4 : height * 3 // 4, width // 4 :] = 255
    return pixels
