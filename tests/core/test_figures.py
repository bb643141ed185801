"""Figures and limits: what passes, what could, and by how much a limit is broken."""

from __future__ import annotations

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.figures import FIGURES, UNKNOWN, Figure, Limit, check_limits, exact

LATENCY = Limit(figure="latency", value=0.5)
PSNR = Limit(figure="psnr", value=30.0)


def test_the_worse_bound_decides_whether_a_figure_passes() -> None:
    assert Figure(value=0.45, low=0.4, high=0.49, origin="measured").passes(LATENCY) is True
    assert Figure(value=0.45, low=0.4, high=0.51, origin="measured").passes(LATENCY) is False
    assert Figure(value=31.0, low=29.0, high=33.0, origin="measured").passes(PSNR) is False
    assert exact(30.0).passes(PSNR) is True


def test_what_is_unknown_never_passes_and_could_still() -> None:
    assert UNKNOWN.passes(LATENCY) is None
    assert UNKNOWN.could_pass(LATENCY)


def test_the_better_bound_decides_whether_a_figure_could_pass() -> None:
    assert Figure(value=0.6, low=0.49, high=0.7, origin="predicted").could_pass(LATENCY)
    assert not Figure(value=0.6, low=0.51, high=0.7, origin="predicted").could_pass(LATENCY)
    assert not exact(29.9).could_pass(PSNR)


def test_the_excess_is_a_share_of_the_limit() -> None:
    assert LATENCY.excess(0.6) == pytest.approx(0.2)
    assert LATENCY.excess(0.5) == 0.0
    assert PSNR.excess(25.0) == pytest.approx(0.5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_limit_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="--max-latency"):
        check_limits((Limit(figure="latency", value=value),))


def test_a_share_above_one_and_a_limit_given_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1"):
        check_limits((Limit(figure="right", value=1.5),))
    with pytest.raises(ConfigError, match="twice"):
        check_limits((LATENCY, LATENCY))


def test_every_figure_has_an_option_by_its_sense() -> None:
    for name, kind in FIGURES.items():
        prefix = "--max-" if kind.sense == "at most" else "--min-"
        assert kind.option == prefix + name
