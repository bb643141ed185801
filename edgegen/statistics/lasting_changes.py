"""Tells lasting changes from what belongs to one of them, or is over too soon to be one.

A level is fitted with steps and ramps wherever it moves: a neighbour's burst of ten seconds is a
step up and a step down, and a doubling over minutes, which is curved in logarithms, is a ramp and
a little more. Neither pair is two changes of the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgegen.statistics.change_search import LevelFit, Posterior
from edgegen.statistics.level_model import Place

_REST_SHARE = 0.25  # what a ramp's curve leaves over is less than this share of its height
_PAUSE_SHARE = 1 / 3  # of a ramp's length


def lasting(fit: LevelFit, *, least: int, near: int) -> list[Posterior]:
    """Return the changes of a fit that last for `least` values.

    Changes that follow each other within `least` values are one, by what remains after the last;
    what comes so near to the end is left out: whether it lasts is not known. Two ramps the same
    way with little between are one, and so are a ramp and a small change the same way near it;
    `near` is the least that is near, and the least length of such a ramp.
    """
    whole: list[Posterior] = []
    first = 0
    for end in range(1, len(fit.changes) + 1):
        together = fit.changes[first:end]
        if end < len(fit.changes):
            follows = _middle(fit.changes[end].place) - _middle(together[0].place) < least
            if follows:
                continue
        whole.append(_joined(fit, first, end))
        first = end
    known = [it for it in whole if _middle(it.place) <= fit.levels.size - least]
    return _join_curved(known, near)


def _middle(place: Place) -> float:
    """Return where a change is half complete."""
    return place.start + (place.length - 1) / 2


def _joined(fit: LevelFit, first: int, end: int) -> Posterior:
    """Return changes `first` to `end` as one, at the places of those that go its way."""
    changes = fit.changes[first:end]
    if len(changes) == 1:
        return changes[0]
    heights = fit.heights[:, first:end]
    total = heights.sum(axis=1)
    along = np.maximum(np.median(heights, axis=0) * np.sign(np.median(total)), 1e-12)
    # The onset is that of one of them, the likelier the more of the height is its own.
    generator = np.random.default_rng(first)
    chosen = generator.choice(len(changes), size=total.size, p=along / along.sum())
    at = np.arange(total.size)
    start, last = changes[0].place.start, max(change.place.last for change in changes)
    return Posterior(
        place=Place(start, last - start + 1),
        starts=np.stack([change.starts for change in changes])[chosen, at],
        lengths=np.stack([change.lengths for change in changes])[chosen, at],
        heights=total,
    )


def _join_curved(changes: Sequence[Posterior], near: int) -> list[Posterior]:
    joined: list[Posterior] = []
    for change in changes:
        if joined and _is_one_ramp(joined[-1], change, near):
            first = joined.pop()
            joined.append(
                Posterior(
                    place=Place(first.place.start, change.place.last - first.place.start + 1),
                    starts=first.starts,
                    lengths=np.maximum(change.starts + change.lengths - first.starts, 1),
                    heights=first.heights + change.heights,
                )
            )
        else:
            joined.append(change)
    return joined


def _is_one_ramp(first: Posterior, second: Posterior, near: int) -> bool:
    one, other = float(np.median(first.heights)), float(np.median(second.heights))
    low, high = sorted((abs(one), abs(other)))
    longer = first if abs(one) > abs(other) else second
    pause = second.place.start - first.place.last
    shorter_length = min(first.place.length, second.place.length)
    are_ramps = shorter_length > near and pause <= max(near, _PAUSE_SHARE * shorter_length)
    is_rest = low < _REST_SHARE * high and longer.place.length > near
    is_rest &= pause <= max(near, _PAUSE_SHARE * longer.place.length)
    return one * other > 0 and (are_ramps or is_rest)
