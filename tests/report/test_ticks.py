"""Round numbers on the axes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.report.ticks import nice_ticks, tick_moment, time_ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_ordered_and_inside(low: float, span: float) -> None:
    high = low + span
    if not high - low > 1e-9 * abs(low):
        return
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert ticks == sorted(ticks)
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in ticks)


def test_ticks_need_a_range() -> None:
    with pytest.raises(ValueError, match="no range"):
        nice_ticks(1.0, 1.0)


def test_round_moments_on_an_axis_are_short() -> None:
    shown = [tick_moment(value) for value in (0.0, 45.0, 90.0, 180.0, 7200.0)]
    assert shown == ["0", "45 s", "1 min 30 s", "3 min", "2 h"]


@given(st.floats(0.01, 1e7), st.integers(1, 12))
def test_the_ticks_of_a_time_axis_begin_at_0_and_fit(length_s: float, count: int) -> None:
    ticks = time_ticks(length_s, count)
    assert ticks[0] == 0.0
    assert len(ticks) <= count + 2
    assert all(0 <= tick <= length_s * (1 + 1e-6) for tick in ticks)


def test_the_ticks_of_a_time_axis_are_minutes_and_hours() -> None:
    assert time_ticks(600, 6) == [0, 120, 240, 360, 480, 600]
    assert time_ticks(70, 6) == [0, 15, 30, 45, 60]
