"""Draws a scene from the pictures of its things."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgegen.scenes.objects import objects
from edgegen.scenes.scene import COLOURS, PICTURE_PX, Scene

if TYPE_CHECKING:
    from PIL.Image import Image

SHEET = Path(__file__).with_name("pictures.png")
SHEET_COLUMNS = 20
"""`pictures.png` holds the things row by row, so many in each, 64 by 64 pixels, with alpha."""

Floats = NDArray[np.float32]


def render(scene: Scene) -> NDArray[np.uint8]:
    """Return a scene's picture, (64, 64, 3)."""
    picture = np.empty((PICTURE_PX, PICTURE_PX, 3), np.float32)
    picture[:] = COLOURS[scene.background]
    for placement in scene.placements:
        colour, alpha = sprites(placement.size)
        rows = slice(placement.y, placement.y + placement.size)
        columns = slice(placement.x, placement.x + placement.size)
        region = picture[rows, columns]
        picture[rows, columns] = region * (1 - alpha[placement.thing]) + colour[placement.thing]
    return np.rint(picture).astype(np.uint8)


@cache
def sprites(size: int) -> tuple[Floats, Floats]:
    """Return every thing at a size: its colour times alpha, 0 to 255, and its alpha, 0 to 1.

    The shapes are (things, size, size, 3) and (things, size, size, 1).
    """
    from PIL import Image

    drawn = [
        np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS), np.float32)
        for picture in _pictures()
    ]
    pixels = np.stack(drawn)
    alpha = pixels[..., 3:] / np.float32(255)
    return pixels[..., :3] * alpha, alpha


@cache
def _pictures() -> tuple[Image, ...]:
    from PIL import Image

    with Image.open(SHEET) as file:
        sheet = file.convert("RGBA")
        corners = [divmod(thing.index, SHEET_COLUMNS) for thing in objects()]
        return tuple(
            sheet.crop((x * PICTURE_PX, y * PICTURE_PX, (x + 1) * PICTURE_PX, (y + 1) * PICTURE_PX))
            for y, x in corners
        )
