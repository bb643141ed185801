"""Which columns of a table fit a terminal, and how wide each is.

A word is never broken: it may be a name that has to be typed. Texts of several words are wrapped
between them; where that isn't enough, columns are left out from the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are shown, by their places, and the width of each."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def fit(
    texts: Sequence[Sequence[str]],
    room: int,
    *,
    between: int,
    length: Callable[[str], int] = len,
) -> Layout:
    """Return the layout of columns (`texts[column]`: its head and cells) in `room` characters.

    `between` is what each column takes beside its text. The first column is always shown.
    """
    whole = [max(length(text) for text in column) for column in texts]
    least = [
        max((length(word) for text in column for word in text.split()), default=0)
        for column in texts
    ]
    count = len(texts)
    while count > 1 and sum(least[:count]) + between * count > room:
        count -= 1
    widths = whole[:count]
    excess = sum(widths) + between * count - room
    while excess > 0:
        widest = max(range(count), key=lambda place: widths[place] - least[place])
        spare = widths[widest] - least[widest]
        if spare <= 0:
            break
        # Columns shrink together: each only down to the next widest spare.
        step = max(1, min(spare, excess) // 2)
        widths[widest] -= step
        excess -= step
    return Layout(tuple(range(count)), tuple(widths))
