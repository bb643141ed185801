"""The series that the detector is validated on: what they say of themselves is true of them."""

import numpy as np
import pytest

from benchmarks.throttling_score import cell, score
from benchmarks.throttling_series import NOISES, RATIOS, STEP_S, RealSeries, from_real, simulate

SLOW = 3 * len(RATIOS)  # the first with steps of a second: few steps, so fast


def medians(latency: object, end: object, at_s: float) -> tuple[float, float]:
    latencies, ends = np.asarray(latency), np.asarray(end)
    return float(np.median(latencies[ends <= at_s])), float(np.median(latencies[ends > at_s]))


@pytest.mark.parametrize("noise", NOISES)
def test_a_step_has_the_ratio_and_the_onset_that_it_says(noise: str) -> None:
    series = simulate("step", noise, SLOW + 5, 7)
    (change,) = series.changes
    before, after = medians(series.latency_s, series.end_s, change.onset_s)
    assert change.ratio == series.ratio == 2.0
    assert after / before == pytest.approx(2.0, rel=0.1)


def test_the_noise_has_the_autocorrelation_that_it_says() -> None:
    logs = np.log(np.asarray(simulate("none", "ar 0.9", 0, 7).latency_s))
    logs -= logs.mean()
    assert float(logs[1:] @ logs[:-1] / (logs @ logs)) == pytest.approx(0.9, abs=0.02)


def test_series_of_one_number_and_seed_are_the_same_and_others_differ() -> None:
    one, same = simulate("ramp", "white", SLOW, 7), simulate("ramp", "white", SLOW, 7)
    other = simulate("ramp", "white", SLOW, 8)
    assert np.array_equal(one.latency_s, same.latency_s)
    assert not np.array_equal(one.latency_s, other.latency_s)
    assert one.step_s == STEP_S[3]


def test_a_found_change_is_scored_as_found_and_a_false_one_as_false() -> None:
    found = score(simulate("cycle", "white", SLOW + 3, 7))
    assert (found.true, found.found, found.false) == (3, 3, 0)
    series = simulate("step", "white", SLOW + 3, 7)
    elsewhere = from_real(
        RealSeries(
            wanted_ratio=1.3,
            ratio=1.3,
            onset_s=series.changes[0].onset_s - 60.0,  # it is not there
            load_average=0.0,
            end_s=tuple(series.end_s),
            latency_s=tuple(series.latency_s),
            position=tuple(int(place) for place in series.position),
        )
    )
    wrong = score(elsewhere)
    assert (wrong.true, wrong.found, wrong.false) == (1, 0, 1)
    both = cell("both", [found, wrong])
    assert both.recall == both.precision == 0.75
    assert both.alarms == 0.5
