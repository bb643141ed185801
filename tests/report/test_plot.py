"""The plot in the terminal: fits its width, shows its values, and needs no Unicode."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.units import format_latency
from edgegen.report.plot import plot_series

SERIES = [[0.1, 0.12, 0.11, 0.1], [0.13, 0.1], [0.1, 0.2, 0.1]]


@given(
    st.lists(st.lists(st.floats(1e-6, 1e4), min_size=1, max_size=60), min_size=1, max_size=6),
    st.integers(40, 120),
    st.booleans(),
)
def test_no_line_is_wider_than_the_terminal(
    restarts: list[list[float]], width: int, unicode: bool
) -> None:
    lines = plot_series(restarts, label=format_latency, width=width, unicode=unicode)
    assert len(lines) == 10
    assert max(map(len, lines)) <= width


def test_without_unicode_every_character_is_ascii() -> None:
    lines = plot_series(SERIES, label=lambda value: f"{value:.2f}", unicode=False)
    assert "\n".join(lines).isascii()
    assert "*" in "".join(lines)


def test_the_axis_is_labelled_with_the_range() -> None:
    lines = plot_series(SERIES, label=lambda value: f"{value:.3f}")
    assert lines[0].startswith("0.200 ┤")
    assert lines[7].startswith("0.100 ┤")


def test_a_peak_stands_in_the_top_row_where_it_happened() -> None:
    values = [1.0] * 30 + [2.0] + [1.0] * 9
    lines = plot_series([values], label=lambda value: f"{value:.1f}", width=60, unicode=False)
    top, columns = lines[0].partition("+")[2], 60 - len("2.0 +")
    assert top.index("*") == pytest.approx(columns * 30 / 39, abs=2)
    assert top.strip("* ") == ""


def test_a_quiet_series_is_not_blown_up() -> None:
    generator = random.Random(1)
    quiet = [1 + 0.0005 * generator.random() for _ in range(60)]
    rows = plot_series([quiet], label=str, unicode=False)[:8]
    assert sum("*" in row for row in rows) <= 2


def test_restarts_stand_apart_and_are_named() -> None:
    lines = plot_series(SERIES, label=format_latency)
    assert all(line.count("┊") == 2 for line in lines[:8])
    assert lines[-1].split() == ["restart", "1", "restart", "2", "restart", "3"]


def test_nothing_measured_draws_nothing() -> None:
    assert plot_series([], label=format_latency) == []
    assert plot_series([[]], label=format_latency) == []
