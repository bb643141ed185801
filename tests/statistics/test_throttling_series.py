"""The series that the detector is validated on: what they say of themselves is true of them."""

import numpy as np
import pytest

from benchmarks.throttling_oracle import null_signals, oracle_signals
from benchmarks.throttling_score import Score, cell, score, with_oracle
from benchmarks.throttling_series import (
    NOISE,
    NOISES,
    RATIOS,
    STEP_S,
    RealSeries,
    from_real,
    simulate,
)

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


def test_a_part_of_a_round_has_each_noise_about_as_often() -> None:
    shares = [simulate("none", "white", number, 7).noise_share for number in range(36)]
    assert {share for share in shares if shares.count(share) in range(8, 11)} == set(NOISE)


@pytest.mark.parametrize("noise", ["white", "ar 0.9", "outliers"])
@pytest.mark.parametrize("shape", ["step", "ramp", "drift", "cycle"])
def test_the_oracle_sees_a_change_as_clearly_as_its_signal_says(shape: str, noise: str) -> None:
    series = simulate(shape, noise, SLOW + 3, 7)
    signals = [change.signal for change in series.changes]
    assert oracle_signals(series) == pytest.approx(signals, abs=5, rel=0.05)


def test_the_oracle_sees_little_where_there_is_nothing() -> None:
    for number in range(36):
        assert max(null_signals(simulate("none", "ar 0.9", number, 7))) < 5


def test_the_oracle_raises_as_many_false_alarms_as_the_detector() -> None:
    def unchanged(null: float, false: int) -> Score:
        return Score(
            shape="none",
            noise="white",
            step_s=1.0,
            noise_share=0.02,
            ratio=1.0,
            true=0,
            found=0,
            false=false,
            oracle_nulls=(null, null, null),
        )

    def step(signal: float) -> Score:
        return Score(
            shape="step",
            noise="white",
            step_s=1.0,
            noise_share=0.02,
            ratio=1.1,
            true=1,
            found=1,
            false=0,
            oracle_signals=(signal,),
        )

    nulls = [float(null) for null in range(1, 12)]  # no alarm: the threshold is the greatest, 11
    quiet = with_oracle([unchanged(null, 0) for null in nulls] + [step(10.5), step(11.5)])
    assert [each.oracle_found for each in quiet[-2:]] == [(False,), (True,)]

    loud = with_oracle([unchanged(null, int(null < 3)) for null in nulls] + [step(10.5), step(8.5)])
    assert [each.oracle_found for each in loud[-2:]] == [(True,), (False,)]
