"""How uneven splits of a pair's pictures are judged."""

from __future__ import annotations

import pytest

from benchmarks.frontier_pair import mcnemar


@pytest.mark.parametrize(
    ("only_one", "only_other", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (5, 0, 0.0625), (0, 6, 0.03125), (2, 8, 0.109375)],
)
def test_a_split_is_as_unlikely_as_a_coin_makes_it(
    only_one: int, only_other: int, p: float
) -> None:
    assert mcnemar(only_one, only_other) == pytest.approx(p)
    assert mcnemar(only_other, only_one) == pytest.approx(p)
