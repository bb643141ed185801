"""Puts images side by side with captions, with numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegen.report.font import GLYPH_HEIGHT, GLYPH_WIDTH, draw_text, to_ascii

Pixels = NDArray[np.uint8]

_PAPER = (255, 255, 255)
_INK = (24, 27, 33)
_MARGIN = 12
_LINE_GAP = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """An image, uint8 (height, width, 3), and what is written below it."""

    pixels: Pixels
    caption: str = ""


def grid(
    tiles: Sequence[Tile], *, columns: int | None = None, title: str = "", least_width: int = 256
) -> Pixels:
    """Return one image, uint8 (height, width, 3), with the tiles in rows on white paper.

    Images narrower than `least_width` are enlarged by a whole factor, without smoothing, so that
    pixels stay pixels. Captions are wrapped to the tile's width. Without `columns` all tiles stand
    in one row. Raises ValueError without tiles, and for one that isn't an RGB image.
    """
    if not tiles:
        raise ValueError("a grid needs at least one image")
    for tile in tiles:
        if tile.pixels.dtype != np.uint8 or tile.pixels.ndim != 3 or tile.pixels.shape[2] != 3:
            raise ValueError(f"expected uint8 (height, width, 3), not {tile.pixels.shape}")
    columns = min(columns or len(tiles), len(tiles))
    enlarged = [_enlarge(tile.pixels, least_width) for tile in tiles]
    width = max(pixels.shape[1] for pixels in enlarged)
    zoom = 2 if width >= 2 * 20 * (GLYPH_WIDTH + 1) else 1
    cells = [
        _cell(pixels, _wrapped(tile.caption, width, zoom), width, zoom)
        for tile, pixels in zip(tiles, enlarged, strict=True)
    ]
    rows = [
        _row(cells[start : start + columns], columns, width)
        for start in range(0, len(cells), columns)
    ]
    page = np.concatenate([_blank(_MARGIN, rows[0].shape[1]), *rows])
    if title:
        heading = _lines(_wrapped(title, page.shape[1] - 2 * _MARGIN, 2), page.shape[1], 2)
        page = np.concatenate([_blank(_MARGIN, page.shape[1]), heading, page])
    return page


def _enlarge(pixels: Pixels, least_width: int) -> Pixels:
    factor = max(1, -(-least_width // pixels.shape[1]))
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _wrapped(text: str, width: int, zoom: int) -> list[str]:
    """Break a text into lines that fit; a word that is too long is cut."""
    import textwrap

    letters = max(1, width // ((GLYPH_WIDTH + 1) * zoom))
    return [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(to_ascii(part), letters) or [""]
    ]


def _cell(pixels: Pixels, lines: Sequence[str], width: int, zoom: int) -> Pixels:
    framed = _blank(pixels.shape[0], width)
    left = (width - pixels.shape[1]) // 2
    framed[:, left : left + pixels.shape[1]] = pixels
    if not lines:
        return framed
    return np.concatenate([framed, _blank(2 * _LINE_GAP, width), _lines(lines, width, zoom)])


def _lines(lines: Sequence[str], width: int, zoom: int) -> Pixels:
    """Draw lines in the middle of `width` pixels."""
    step = (GLYPH_HEIGHT + 2) * zoom
    page = _blank(step * len(lines), width)
    for row, line in enumerate(lines):
        ink = draw_text(line, zoom=zoom)[:, :width]
        left = max(0, (width - ink.shape[1]) // 2)
        page[row * step : row * step + ink.shape[0], left : left + ink.shape[1]][ink] = _INK
    return page


def _row(cells: Sequence[Pixels], columns: int, width: int) -> Pixels:
    height = max(cell.shape[0] for cell in cells)
    page = _blank(height + _MARGIN, columns * (width + _MARGIN) + _MARGIN)
    for index, cell in enumerate(cells):
        left = _MARGIN + index * (width + _MARGIN)
        page[: cell.shape[0], left : left + width] = cell
    return page


def _blank(height: int, width: int) -> Pixels:
    return np.full((height, width, 3), _PAPER, np.uint8)
