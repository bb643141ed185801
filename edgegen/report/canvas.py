"""A grid of characters to draw lines on: braille dots, or stars where there is no Unicode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """`rows` of `columns` characters; with Unicode each holds two dots across and four down.

    Dots are counted from the upper left: `wide` across and `tall` down.
    """

    def __init__(self, columns: int, rows: int, *, unicode: bool) -> None:
        self._across, self._down = (2, 4) if unicode else (1, 1)
        self.wide, self.tall = columns * self._across, rows * self._down
        self._unicode = unicode
        self._cells = [[0] * columns for _ in range(rows)]

    def draw(self, points: Sequence[tuple[int, int]]) -> None:
        """Set the dots (x, y) and join each with the next by a line; a single one is a dot."""
        for (x0, y0), (x1, y1) in itertools.pairwise([points[0], *points] if points else []):
            length = max(abs(x1 - x0), abs(y1 - y0), 1)
            for part in range(length + 1):
                self._set(
                    round(x0 + (x1 - x0) * part / length), round(y0 + (y1 - y0) * part / length)
                )

    def row(self, row: int) -> str:
        """Return one line of text; cells without a dot are blanks."""
        return "".join(map(self._glyph, self._cells[row]))

    def _set(self, x: int, y: int) -> None:
        bit = _DOTS[y % 4][x % 2] if self._unicode else 1
        self._cells[y // self._down][x // self._across] |= bit

    def _glyph(self, bits: int) -> str:
        if not bits:
            return " "
        return chr(_BRAILLE + bits) if self._unicode else "*"
