"""Changes in series of known noise: where, by how much, and where there is none."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.statistics.changepoints import Change, LatencyChanges, find_changes
from edgegen.statistics.step_blocks import block_bounds, clip, without_profile

Floats = NDArray[np.float64]


def noise(count: int, *, share: float = 0.02, rho: float = 0.0, seed: int = 3) -> Floats:
    """Factors around 1 with AR(1) in their logarithms."""
    generator = np.random.default_rng(seed)
    fresh = generator.standard_normal(count)
    values = np.empty(count)
    values[0] = fresh[0]
    for i in range(1, count):
        values[i] = rho * values[i - 1] + math.sqrt(1 - rho * rho) * fresh[i]
    return np.exp(share * values)


def find(latency: Floats, gap_s: float = 0.0) -> tuple[tuple[Change, ...], Floats]:
    """What is found in steps with a gap after every twentieth; and when each step began."""
    gaps = np.where(np.arange(latency.size) % 20 == 0, gap_s, 0.0)
    ends = np.cumsum(latency + gaps)
    found = find_changes(ends, latency)
    assert found is not None
    return found.changes, ends - latency


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
@pytest.mark.parametrize("ratio", [1.1, 1.5])
def test_a_step_is_found_with_its_onset_and_ratio_in_the_intervals(
    ratio: float, rho: float
) -> None:
    latency = 0.5 * noise(1200, rho=rho)
    latency[700:] *= ratio

    (change,), starts = find(latency, gap_s=0.8)

    assert change.shape == "step"
    assert change.is_slowdown
    assert change.onset_low_s <= starts[700] <= change.onset_high_s
    assert abs(change.onset_s - starts[700]) < 3.0
    assert change.ratio_low <= ratio <= change.ratio_high
    assert change.end_s == change.onset_s


def test_a_ramp_is_told_apart_from_a_step() -> None:
    rise = np.clip((np.arange(1200) - 500) / 200, 0, 1)
    latency = 0.5 * (1 + 0.4 * rise) * noise(1200)

    (change,), starts = find(latency)

    assert change.shape == "ramp"
    assert change.onset_low_s <= starts[500] <= change.onset_high_s
    assert change.end_s == pytest.approx(starts[700], abs=15)
    assert change.ratio_low <= 1.4 <= change.ratio_high


def test_a_recovery_is_a_change_of_its_own() -> None:
    latency = 0.5 * noise(1200)
    latency[300:500] *= 1.3
    latency[800:] *= 1.3

    changes, starts = find(latency)

    assert [change.is_slowdown for change in changes] == [True, False, True]
    onsets = [change.onset_s for change in changes]
    assert onsets == pytest.approx([starts[300], starts[500], starts[800]], abs=3)
    assert changes[1].ratio == pytest.approx(1 / 1.3, rel=0.02)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9, 0.95])
def test_steady_runs_rarely_have_a_change(rho: float) -> None:
    alarms = sum(
        bool(find(2.0 * noise(300, share=0.04, rho=rho, seed=seed))[0]) for seed in range(10)
    )
    assert alarms <= 1


def test_a_change_by_less_than_four_percent_is_not_told() -> None:
    latency = 0.5 * noise(1200, share=0.01)
    latency[600:] *= 1.02
    assert find(latency)[0] == ()


def test_single_outliers_and_a_short_burst_are_no_change() -> None:
    latency = 0.1 * noise(6000)
    latency[::97] *= 4.0
    latency[3000:3020] *= 2.0  # two seconds
    assert find(latency)[0] == ()


def test_a_neighbours_burst_of_twenty_seconds_is_no_change() -> None:
    latency = 0.5 * noise(1200)
    latency[500:540] *= 1.6
    assert find(latency)[0] == ()


def test_a_burst_beside_a_step_leaves_the_step() -> None:
    latency = 0.5 * noise(1200)
    latency[600:] *= 1.2
    latency[600:620] *= 1.5  # the first twelve seconds of it

    (change,), starts = find(latency)

    assert change.onset_low_s <= starts[600] <= change.onset_high_s
    assert change.ratio == pytest.approx(1.2, rel=0.02)


def test_steps_that_vary_by_a_third_beside_a_busy_neighbour_rarely_have_a_change() -> None:
    generator = np.random.default_rng(11)
    alarms = 0
    for _ in range(40):
        latency = 0.12 * np.exp(0.3 * generator.standard_t(3, 800))
        for _ in range(6):  # its seconds, a quarter of the run in all
            first = int(generator.integers(0, 800))
            latency[first : first + int(generator.integers(5, 60))] *= 1.5
        alarms += bool(find(latency)[0])
    assert alarms <= 4


def test_a_step_in_the_last_seconds_is_not_known_to_last() -> None:
    latency = 0.5 * noise(1200)
    latency[1170:] *= 1.3
    assert find(latency)[0] == ()


def test_two_cycles_are_found_where_no_one_of_their_changes_stands_out() -> None:
    # With one change, or two, the rest passes for a slow wander.
    latency = 0.5 * noise(1200, share=0.03, rho=0.6)
    latency[300:600] *= 1.1
    latency[840:] *= 1.1
    assert [change.is_slowdown for change in find(latency)[0]] == [True, False, True]


def test_a_drift_over_the_whole_run_is_told() -> None:
    latency = 0.5 * np.linspace(1.0, 1.1, 1200) * noise(1200, share=0.05)
    (change,), _ = find(latency)
    assert change.shape == "ramp"
    assert change.ratio_low <= 1.1 <= change.ratio_high


def test_a_step_among_outliers_is_found() -> None:
    latency = 0.1 * noise(6000)
    latency[::97] *= 4.0
    latency[3500:] *= 1.1

    (change,), starts = find(latency)

    assert change.onset_low_s <= starts[3500] <= change.onset_high_s
    assert change.ratio == pytest.approx(1.1, rel=0.01)


def test_two_modes_are_no_change() -> None:
    latency = 1.0 * noise(600, share=0.01)
    latency[np.random.default_rng(0).random(600) < 0.3] *= 1.12
    assert find(latency)[0] == ()


def test_a_long_gap_moves_the_onset_with_the_clock() -> None:
    latency = 1.0 * noise(600)
    latency[400:] *= 1.2
    ends = np.cumsum(latency)
    ends[200:] += 3600.0

    found = find_changes(ends, latency)

    assert found is not None
    (change,) = found.changes
    assert change.onset_s == pytest.approx(ends[399], abs=5)


def test_the_clock_need_not_start_at_zero() -> None:
    latency = 1.0 * noise(300)
    latency[150:] *= 1.2
    ends = np.cumsum(latency)
    one, other = find_changes(ends, latency), find_changes(ends + 1e5, latency)
    assert one is not None
    assert other is not None
    assert other.changes[0].onset_s - 1e5 == pytest.approx(one.changes[0].onset_s, abs=1e-6)


def test_a_constant_series_has_no_change() -> None:
    assert find(np.full(100, 0.25))[0] == ()


def test_a_step_without_any_noise_is_found_exactly() -> None:
    latency = np.where(np.arange(200) < 120, 1.0, 1.25)
    (change,), starts = find(latency)
    assert change.onset_s == starts[120]
    assert change.ratio == pytest.approx(1.25)


def test_too_few_steps_say_nothing() -> None:
    assert find_changes(np.arange(1.0, 24.0), np.full(23, 0.5)) is None


@pytest.mark.parametrize(
    ("latency", "end", "said"),
    [
        (math.nan, 51.0, "not finite"),
        (0.5, math.inf, "not finite"),
        (-0.5, 51.0, "not positive"),
        (0.0, 51.0, "not positive"),
        (0.5, 12.0, "do not rise"),
    ],
)
def test_what_no_clock_gives_is_refused(latency: float, end: float, said: str) -> None:
    ends, latencies = np.arange(1.0, 101.0), np.full(100, 0.5)
    ends[50], latencies[50] = end, latency
    with pytest.raises(ValueError, match=said):
        find_changes(ends, latencies)


def test_the_line_follows_the_levels() -> None:
    latency = 0.5 * noise(600)
    latency[300:] *= 1.5
    found = find_changes(np.cumsum(latency), latency)
    assert isinstance(found, LatencyChanges)
    line = [point.latency_s for point in found.line]
    assert line == pytest.approx([0.5, 0.5, 0.75, 0.75], rel=0.01)
    assert [point.time_s for point in found.line] == sorted(point.time_s for point in found.line)
    assert found.line[2].time_s == found.changes[0].onset_s


def test_a_first_step_that_is_always_slower_does_not_blur_the_rest() -> None:
    position = np.arange(400) % 20
    logs = np.log(np.where(position == 0, 1.3, 1.0) * noise(400, share=0.01))
    flat = without_profile(logs, position)
    assert np.std(flat) < 0.015 < np.std(logs)


def test_a_slowdown_survives_taking_out_the_places() -> None:
    position = np.arange(400) % 20
    logs = np.where(np.arange(400) < 200, 0.0, 0.7)  # half of the images, so at every place
    assert np.array_equal(without_profile(logs, position), logs)


def test_clipping_leaves_a_step_and_pulls_an_outlier_back() -> None:
    values = np.where(np.arange(100) < 50, 0.0, 1.0) + 0.01 * np.random.default_rng(1).random(100)
    spoiled = values.copy()
    spoiled[20] = 5.0
    assert clip(values, 3) == pytest.approx(values, abs=0.02)
    assert clip(spoiled, 3)[20] < 0.1


@pytest.mark.parametrize("count", [24, 299, 300, 301, 599, 6001, 60000])
@pytest.mark.parametrize("cuts", [[], [11], [7, 20], [12, 13]])
def test_blocks_hold_every_step_once(count: int, cuts: list[int]) -> None:
    bounds = block_bounds(count, cuts)
    assert bounds[0] == 0
    assert bounds[-1] == count
    assert (np.diff(bounds) > 0).all()
    assert bounds.size == block_bounds(count).size <= 301
    assert np.diff(bounds).max() <= 2 * np.diff(block_bounds(count)).max()


def test_a_block_begins_at_a_cut() -> None:
    assert 4321 in block_bounds(60000, [4321])
    assert 4321 not in block_bounds(60000)


def test_a_doubling_over_minutes_is_one_ramp() -> None:
    # Even in seconds, it is curved in logarithms, where a second change makes up for that.
    rise = np.clip((np.arange(1200) - 400) / 500, 0, 1)
    (change,), starts = find(0.5 * (1 + rise) * noise(1200, share=0.01))
    assert change.shape == "ramp"
    assert change.ratio == pytest.approx(2.0, rel=0.02)
    assert change.onset_low_s <= starts[400] <= change.onset_high_s
    assert change.end_s == pytest.approx(starts[900], abs=25)
