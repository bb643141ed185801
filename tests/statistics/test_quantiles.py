"""The interval of the 90 % quantile: what it covers, and what it is too small for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgegen.statistics.quantiles import p90_interval


@pytest.mark.parametrize(
    ("restarts", "values", "apart", "least"),
    [(3, 4, 0.0, 0.80), (6, 6, 0.0, 0.93), (6, 6, 1.0, 0.83)],
)
def test_the_upper_bound_lies_above_the_true_quantile_as_often_as_the_table_says(
    restarts: int, values: int, apart: float, least: float
) -> None:
    dice = np.random.default_rng(7)
    true = math.exp(0.05 * 1.2816 * math.hypot(1, apart))
    above, runs = 0, 60
    for _ in range(runs):
        offsets = apart * dice.standard_normal(restarts)
        sample = np.exp(0.05 * (dice.standard_normal((restarts, values)) + offsets[:, None]))
        interval = p90_interval(sample.tolist())
        assert interval is not None
        above += interval.high >= true
    assert above / runs >= least


def test_the_interval_holds_its_value_and_the_largest_latency() -> None:
    sample = [[1.0, 1.1, 1.2], [1.0, 1.05, 1.3], [0.9, 1.0, 2.0]]
    interval = p90_interval(sample)
    assert interval is not None
    assert interval.low <= interval.value <= interval.high
    assert interval.high >= 2.0


@pytest.mark.parametrize(
    "sample", [[[1.0, 1.0]], [[1.0], [1.0], [1.0]], [[1.0, 2.0]] * 2, [[0.0, 1.0]] * 3, []]
)
def test_what_is_too_small_has_no_interval(sample: list[list[float]]) -> None:
    assert p90_interval(sample) is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    interval = p90_interval([[1.0, 1.0]] * 3)
    assert interval is not None
    assert interval.low == interval.high == pytest.approx(1.0)
