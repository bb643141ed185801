"""How figures are written."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.units import (
    counted,
    format_amount,
    format_bytes,
    format_count,
    format_decibels,
    format_duration,
    format_joules,
    format_latency,
    format_moment,
    format_rate,
    format_when,
    three_digits,
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
    assert format_latency(value_s) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0 bytes"), (999, "999 bytes"), (1000, "1.00 kB"), (1.7234e9, "1.72 GB")],
)
def test_sizes_have_three_digits_and_a_decimal_unit(value: float | None, text: str) -> None:
    assert format_bytes(value) == text


def test_equal_images_have_no_decibels() -> None:
    assert (format_decibels(None), format_decibels(math.inf), format_decibels(62.345)) == (
        "equal",
        "equal",
        "62.3 dB",
    )


@given(st.floats(1e-9, 1e9))
def test_three_digits_are_right_to_half_a_digit_and_never_an_exponent(value: float) -> None:
    text = three_digits(value)
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=0.0051)


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
    assert format_moment(value_s) == text


@pytest.mark.parametrize(
    ("value_j", "text"), [(None, "–"), (0.4119, "412 mJ"), (41.23, "41.2 J"), (1250.0, "1.25 kJ")]
)
def test_energies_have_three_digits(value_j: float | None, text: str) -> None:
    assert format_joules(value_j) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (1_720_000_000, "1.72 GB"),
        (5_140_000_000_000_000, "5140 TB"),
    ],
)
def test_sizes_go_on_to_the_largest_unit(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0081, "8.10 ms"),
        (3.2, "3.20 s"),
        (119.4, "119 s"),
        (119.6, "2 min 00 s"),
        (245.2, "4 min 05 s"),
        (7384, "2 h 03 min"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_counts_amounts_and_rates_name_their_units() -> None:
    assert format_count(859_520_964) == "860 M"
    assert format_count(2_567_463_684) == "2.57 B"
    assert format_count(512) == "512"
    assert format_amount(7, 25, "steps") == "7 of 25 steps"
    assert format_amount(7, None, "images") == "7 images"
    assert format_rate(120e6, "bytes") == "120 MB/s"
    assert format_rate(0.05, "steps") == "20.0 s a step"
    assert format_rate(3.1, "steps") == "3.10 steps/s"


@pytest.mark.parametrize(
    ("started_at", "text"),
    [
        ("2026-01-02T03:04:05+00:00", "2026-01-02 03:04 UTC"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T03:04:05+02:00"),
        ("2026-01-02", "2026-01-02"),
        ("yesterday", "yesterday"),
    ],
)
def test_a_time_of_utc_is_written_to_the_minute(started_at: str, text: str) -> None:
    assert format_when(started_at) == text


def test_one_thing_is_no_plural() -> None:
    assert (counted(1, "step"), counted(0, "step"), counted(4, "step")) == (
        "1 step",
        "0 steps",
        "4 steps",
    )
