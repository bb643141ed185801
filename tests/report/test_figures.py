"""How figures are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.report.figures import decibels, nice_ticks, seconds, size, three_digits


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
