"""How figures are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.report.figures import (
    decibels,
    joules,
    moment,
    nice_ticks,
    seconds,
    size,
    three_digits,
    tick_moment,
    time_ticks,
)


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (4.2e-7, "0.420 µs"),
        (0.000812, "812 µs"),
        (0.0009996, "1.00 ms"),
        (0.00812, "8.12 ms"),
        (0.99949, "999 ms"),
        (0.9996, "1.00 s"),
        (4.234, "4.23 s"),
        (63.14, "63.1 s"),
        (599.0, "599 s"),
        (725.0, "12 min 05 s"),
        (7380.0, "2 h 03 min"),
    ],
)
def test_times_have_three_digits_and_a_unit(value_s: float | None, text: str) -> None:
    assert seconds(value_s) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (1.7234e9, "1.72 GB")],
)
def test_sizes_have_three_digits_and_a_decimal_unit(value: float | None, text: str) -> None:
    assert size(value) == text


def test_equal_images_have_no_decibels() -> None:
    assert (decibels(None), decibels(math.inf), decibels(62.345)) == ("equal", "equal", "62.3 dB")


@given(st.floats(1e-9, 1e9))
def test_three_digits_are_right_to_half_a_digit_and_never_an_exponent(value: float) -> None:
    text = three_digits(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.0051)


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


@pytest.mark.parametrize(
    ("value_s", "text"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (8.24, "8.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (192.0, "3 min 12 s"),
        (4800.0, "1 h 20 min"),
        (-75.0, "-1 min 15 s"),
    ],
)
def test_moments_are_whole_seconds_from_ten_on(value_s: float | None, text: str) -> None:
    assert moment(value_s) == text


def test_round_moments_on_an_axis_are_short() -> None:
    shown = [tick_moment(value) for value in (0.0, 45.0, 90.0, 180.0, 7200.0)]
    assert shown == ["0", "45 s", "1 min 30 s", "3 min", "2 h"]


@pytest.mark.parametrize(
    ("value_j", "text"), [(None, "–"), (0.4119, "412 mJ"), (41.23, "41.2 J"), (1250.0, "1.25 kJ")]
)
def test_energies_have_three_digits(value_j: float | None, text: str) -> None:
    assert joules(value_j) == text


@given(st.floats(0.01, 1e7), st.integers(1, 12))
def test_the_ticks_of_a_time_axis_begin_at_0_and_fit(length_s: float, count: int) -> None:
    ticks = time_ticks(length_s, count)
    assert ticks[0] == 0.0
    assert len(ticks) <= count + 2
    assert all(0 <= tick <= length_s * (1 + 1e-6) for tick in ticks)


def test_the_ticks_of_a_time_axis_are_minutes_and_hours() -> None:
    assert time_ticks(600, 6) == [0, 120, 240, 360, 480, 600]
    assert time_ticks(70, 6) == [0, 15, 30, 45, 60]
