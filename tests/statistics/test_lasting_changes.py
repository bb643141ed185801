"""Which of the fitted changes last, and which belong together."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.statistics.change_search import LevelFit, Posterior
from edgegen.statistics.lasting_changes import lasting
from edgegen.statistics.level_model import Place

COUNT, DRAWS = 200, 50


def fit(*changes: tuple[int, int, float]) -> LevelFit:
    """Return a fit whose changes (start, length, height) are certain."""
    heights = np.tile([height for _, _, height in changes], (DRAWS, 1))
    return LevelFit(
        changes=[
            Posterior(
                place=Place(start, length),
                starts=np.full(DRAWS, start),
                lengths=np.full(DRAWS, length),
                heights=heights[:, index],
            )
            for index, (start, length, _) in enumerate(changes)
        ],
        levels=np.zeros(COUNT),
        heights=heights,
    )


def found(*changes: tuple[int, int, float], near: int = 4) -> list[tuple[int, int, float]]:
    return [
        (each.place.start, each.place.length, round(float(np.median(each.heights)), 9))
        for each in lasting(fit(*changes), least=20, near=near)
    ]


def test_changes_far_apart_are_kept_as_they_are() -> None:
    changes = [(30, 1, 0.2), (100, 1, -0.1)]
    assert found(*changes) == changes


def test_a_burst_that_is_soon_over_is_one_change_of_nothing() -> None:
    ((start, length, height),) = found((50, 1, 0.3), (58, 1, -0.3))
    assert (start, length) == (50, 9)
    assert height == 0.0


def test_two_steps_in_short_order_are_one_change_of_their_sum() -> None:
    ((start, length, height),) = found((50, 1, 0.1), (60, 1, 0.2))
    assert (start, length) == (50, 11)
    assert height == pytest.approx(0.3)


def test_a_change_near_the_end_is_left_out_because_it_may_not_last() -> None:
    assert found((COUNT - 10, 1, 0.3)) == []
    assert found((COUNT - 30, 1, 0.3)) == [(COUNT - 30, 1, 0.3)]


def test_two_ramps_the_same_way_with_little_between_are_one() -> None:
    assert found((20, 40, 0.2), (65, 40, 0.3)) == [(20, 85, 0.5)]
    assert len(found((20, 40, 0.2), (65, 40, -0.3))) == 2
    assert len(found((20, 40, 0.2), (110, 40, 0.3))) == 2


def test_a_small_rest_near_a_ramp_belongs_to_it() -> None:
    assert found((20, 40, 0.4), (68, 1, 0.05)) == [(20, 49, 0.45)]
    assert len(found((20, 40, 0.4), (68, 1, 0.2))) == 2  # as large as a change of its own
