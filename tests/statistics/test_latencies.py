"""Intervals and percentiles: known values, numpy's, and simulations of what they promise."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.statistics.latencies import (
    block_length,
    compare_interleaved,
    median_interval,
    summarise,
)
from edgegen.statistics.student import student_t


def simulate(
    generator: np.random.Generator, restarts: int, count: int, *, rho: float, between: float = 0.0
) -> NDArray[np.float64]:
    """AR(1) noise of 5 % around 1, and restarts that differ by `between` times as much."""
    noise = np.empty((restarts, count))
    noise[:, 0] = generator.standard_normal(restarts)
    for i in range(1, count):
        fresh = generator.standard_normal(restarts)
        noise[:, i] = rho * noise[:, i - 1] + np.sqrt(1 - rho * rho) * fresh
    noise += between * generator.standard_normal((restarts, 1))
    return np.exp(0.05 * noise)


def coverage(restarts: int, count: int, *, rho: float, between: float, trials: int = 120) -> float:
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        sample = simulate(generator, restarts, count, rho=rho, between=between)
        interval = median_interval(sample.tolist())
        assert interval is not None
        hits += interval.low <= 1.0 <= interval.high
    return hits / trials


def iid_coverage(restarts: int, count: int, *, rho: float, trials: int = 100) -> float:
    """The share that a bootstrap covers that takes neighbours and restarts for independent."""
    generator = np.random.default_rng(5)
    hits = 0
    for _ in range(trials):
        sample = simulate(generator, restarts, count, rho=rho).ravel()
        medians = np.median(generator.choice(sample, (300, sample.size)), axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        hits += low <= 1.0 <= high
    return hits / trials


@pytest.mark.parametrize(
    ("restarts", "count", "rho", "between"),
    [(3, 10, 0.0, 0.0), (3, 40, 0.6, 0.0), (3, 10, 0.6, 0.0), (3, 10, 0.6, 1.0), (5, 10, 0.6, 0.5)],
)
def test_an_interval_holds_the_true_median_about_as_often_as_it_promises(
    restarts: int, count: int, rho: float, between: float
) -> None:
    assert 0.85 <= coverage(restarts, count, rho=rho, between=between) <= 0.995


def test_a_bootstrap_of_single_values_would_promise_too_much() -> None:
    # What the block bootstrap is for: without it, the same noise is covered far too seldom.
    assert iid_coverage(3, 100, rho=0.6) < 0.80


def test_more_images_give_a_narrower_interval() -> None:
    def width(count: int) -> float:
        samples = [simulate(np.random.default_rng(i), 3, count, rho=0.0) for i in range(20)]
        found = [median_interval(sample.tolist()) for sample in samples]
        return float(np.median([each.high - each.low for each in found if each is not None]))

    assert width(160) < 0.5 * width(10)


def test_an_interval_is_the_same_each_time() -> None:
    sample = simulate(np.random.default_rng(2), 3, 8, rho=0.3).tolist()
    assert median_interval(sample) == median_interval(sample)


def test_an_interval_scales_with_the_unit() -> None:
    sample = simulate(np.random.default_rng(3), 3, 8, rho=0.3)
    in_seconds, in_ms = median_interval(sample.tolist()), median_interval((1000 * sample).tolist())
    assert in_seconds is not None
    assert in_ms is not None
    assert in_ms.low == pytest.approx(1000 * in_seconds.low)


@pytest.mark.parametrize(
    "restarts",
    [
        [],
        [[1.0, 1.1, 1.2, 1.1, 1.0, 1.2]],  # one process says nothing of the next
        [[1.0, 1.1, 1.2], [1.1, 1.2, 1.3]],
        [[1.0], [1.1], [1.2]],  # warm loads: one a process
        [[1.0, 1.1], [1.1, 1.2], [1.3]],
        [[1.0, 1.1, 0.0], [1.1, 1.2, 1.0], [1.3, 1.0, 1.1]],
    ],
)
def test_a_sample_that_is_too_small_gets_no_interval(restarts: list[list[float]]) -> None:
    assert median_interval(restarts) is None


def test_percentiles_are_numpys_and_left_out_where_the_sample_is_too_small() -> None:
    generator = np.random.default_rng(4)
    for count, has_p90, has_p99 in ((9, False, False), (10, True, False), (100, True, True)):
        values = generator.exponential(size=count)
        summary = summarise([values.tolist()])
        assert summary is not None
        assert (summary.p90 is not None, summary.p99 is not None) == (has_p90, has_p99)
        assert summary.median == np.median(values)
        assert (summary.minimum, summary.maximum) == (values.min(), values.max())
        if summary.p90 is not None:
            assert summary.p90 == np.quantile(values, 0.9)
        if summary.p99 is not None:
            assert summary.p99 == np.quantile(values, 0.99)


def test_the_spread_is_the_median_deviation_and_ignores_one_outlier() -> None:
    summary = summarise([[1.0, 1.0, 1.02, 0.98, 9.0]])
    assert summary is not None
    assert summary.mad == pytest.approx(0.02)
    assert not summary.is_noisy
    noisy = summarise([[1.0, 1.2, 0.8, 1.1, 0.9]])
    assert noisy is not None
    assert noisy.is_noisy


def test_nothing_measured_has_no_summary() -> None:
    assert summarise([]) is None
    assert summarise([[], []]) is None


def test_blocks_grow_with_autocorrelation_and_never_fill_more_than_half_a_restart() -> None:
    generator = np.random.default_rng(6)
    lengths = [block_length(list(simulate(generator, 3, 200, rho=rho))) for rho in (0.0, 0.6, 0.9)]
    assert lengths == sorted(lengths)
    assert lengths[0] >= round(200 ** (1 / 3))
    assert lengths[2] > 2 * lengths[0]
    assert block_length([np.array([1.0, 2.0, 3.0, 4.0])] * 3) <= 2


def test_students_quantiles_are_the_tables() -> None:
    assert student_t(2) == pytest.approx(4.3027, abs=5e-5)
    assert student_t(7) == pytest.approx(2.3646, abs=5e-5)
    assert student_t(4, 0.99) == pytest.approx(4.6041, abs=5e-5)
    assert student_t(1.5) == pytest.approx(6.0167, abs=5e-5)
    assert student_t(1e9) == pytest.approx(1.96, abs=0.001)
    assert student_t(0.3) == student_t(1)


def drifting(generator: np.random.Generator, *, factor_of_b: float) -> NDArray[np.float64]:
    """60 images, A and B in turns, on a machine that slows by 8 % over the session."""
    session = np.linspace(1.0, 1.08, 60) * np.exp(0.005 * generator.standard_normal(60))
    session[1::2] *= factor_of_b
    return session


def test_interleaved_pairs_see_no_difference_where_only_the_machine_drifts() -> None:
    alarms, one_after_the_other = 0, []
    for seed in range(40):
        session = drifting(np.random.default_rng(seed), factor_of_b=1.0)
        a, b = session[0::2].reshape(3, 10), session[1::2].reshape(3, 10)
        alarms += compare_interleaved(a.tolist(), b.tolist()).differs is True
        one_after_the_other.append(np.median(session[30:]) / np.median(session[:30]))
    # A pair's second image is 0.14 % later on the slope, hence not quite the nominal 5 %.
    assert alarms <= 8
    assert min(one_after_the_other) > 1.03


def test_interleaved_pairs_find_a_difference_of_three_percent() -> None:
    session = drifting(np.random.default_rng(9), factor_of_b=1.03)
    a, b = session[0::2].reshape(3, 10), session[1::2].reshape(3, 10)
    found = compare_interleaved(a.tolist(), b.tolist())
    assert found.differs is True
    assert found.ratio == pytest.approx(1.03, abs=0.01)
    assert found.pairs == 30


def test_too_few_pairs_say_nothing_about_a_difference() -> None:
    assert compare_interleaved([[1.0, 1.0]], [[2.0, 2.0]]).differs is None


def test_values_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="same number"):
        compare_interleaved([[1.0, 1.1]], [[1.0]])
