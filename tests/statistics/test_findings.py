"""What is said with the figures."""

from dataclasses import replace

import pytest

from edgegen.core.measurement import ImageSample, Measurement, PageCache, Run, StartTemperature
from edgegen.statistics.analysis import analyse
from edgegen.statistics.findings import Finding, findings
from edgegen.statistics.series import all_series, load_s, outside_share, phase_shares
from edgegen.statistics.sustained import Sustained, sampling_cost
from edgegen.statistics.throttling import Judgement
from edgegen.statistics.timings import timings_of
from tests.statistics.samples import disturbed, measurement, sustained, sustained_run, throttled


def texts(value: Measurement, weight: str | None = None) -> str:
    return "\n".join(
        finding.text for finding in analyse(value).findings if weight in (None, finding.weight)
    )


def with_runs(value: Measurement, *runs: Run) -> Measurement:
    return replace(value, runs=runs)


def test_a_quiet_measurement_has_no_warning() -> None:
    assert texts(measurement(), "warning") == ""


def test_an_emulated_busy_quick_measurement_says_all_of_it_and_warnings_come_first() -> None:
    found = analyse(disturbed(measurement(restarts=1, images=2))).findings
    warnings = "\n".join(each.text for each in found if each.weight == "warning")
    for word in ("emulated", "load average 3.70 on 4 cores", "--quick"):
        assert word in warnings
    notes = texts(disturbed(measurement(restarts=1, images=2)), "note")
    for word in ("virtual machine (QEMU)", "powersave", "no golden case"):
        assert word in notes
    assert "p90" not in notes  # of latencies that are not shown
    assert found == tuple(sorted(found, key=lambda each: each.weight != "warning"))


def test_too_few_images_for_a_percentile_are_told() -> None:
    assert "8 steady images: p90" in texts(measurement(restarts=2), "note")
    assert "p90" not in texts(measurement())


@pytest.mark.parametrize(
    ("load", "cores", "busy"), [(0.4, 1, False), (0.9, 2, True), (1.9, 8, False)]
)
def test_a_machine_is_busy_in_proportion_to_its_cores(load: float, cores: int, busy: bool) -> None:
    value = measurement()
    environment = replace(value.environment, load_average=(load, 0.1, 0.1), cores=cores)
    assert ("busy" in texts(replace(value, environment=environment))) is busy


def scaled(run: Run, factors: list[float]) -> Run:
    """The run with its images' ends moved so that each takes `factor` times as long."""
    images = [
        replace(image, end_s=image.start_s + factor * image.latency_s)
        for image, factor in zip(run.images, factors, strict=True)
    ]
    return replace(run, images=tuple(images))


def test_images_that_scatter_are_called_noisy() -> None:
    value = measurement()
    runs = [
        scaled(run, [1.0, 0.7, 1.3, 0.8, 1.4]) if run.kind == "steady" else run
        for run in value.runs
    ]
    assert "Noisy: the steady image's" in texts(with_runs(value, *runs), "warning")


def test_too_few_restarts_are_told() -> None:
    assert "2 restarts" in texts(measurement(restarts=2), "warning")


def test_a_cold_load_that_was_not_cold_is_told_and_has_no_series() -> None:
    value = measurement()
    still_there = PageCache(file_bytes=100, resident_bytes=90, how="files as they lay: a reason")
    runs = [
        replace(run, page_cache=still_there) if run.kind == "cold" else run for run in value.runs
    ]
    warm = with_runs(value, *runs)
    assert "No cold load" in texts(warm)
    assert "a reason" in texts(warm)
    assert "cold_load" not in all_series(warm)
    assert "cold_first_image" not in all_series(warm)
    assert "cold_load" in all_series(value)


def test_another_image_of_the_same_seed_is_told() -> None:
    value = measurement()
    last = value.runs[-1]
    changed = replace(last, images=(replace(last.images[0], sha256="cd" * 32),))
    assert "bit-exact" in texts(with_runs(value, *value.runs[:-1], changed))
    assert "bit-exact" not in texts(value)


def test_the_runners_warnings_are_told_once() -> None:
    value = measurement()
    runs = [replace(run, warnings=("The prompt is too long.",)) for run in value.runs]
    assert texts(with_runs(value, *runs)).count("The prompt is too long.") == 1


def test_what_could_not_be_seen_is_told() -> None:
    assert (
        Finding(weight="note", text="Not seen on this device: power: no sensor.")
        in analyse(measurement()).findings
    )


def without_text(image: ImageSample) -> ImageSample:
    return replace(image, phases=tuple(p for p in image.phases if p.name != "text_encoder"))


def test_steady_images_without_their_text_are_told() -> None:
    value = replace(measurement())
    runs = [
        replace(
            run,
            images=tuple(image if image.warmup else without_text(image) for image in run.images),
        )
        for run in value.runs
    ]
    assert "the text of the first one again" in texts(with_runs(value, *runs))
    assert "the text of the first one again" not in texts(value)


def test_no_memory_run_is_told() -> None:
    value = measurement()
    runs = [run for run in value.runs if run.kind != "memory"]
    assert "Memory was not measured" in texts(with_runs(value, *runs))


def test_series_hold_what_their_names_say() -> None:
    value, series = measurement(), all_series(measurement())
    steady = value.of_kind("steady")
    assert series["steady_image"].restarts == tuple(
        tuple(image.latency_s for image in run.images[1:]) for run in steady
    )
    assert series["first_image"].values == tuple(run.images[0].latency_s for run in steady)
    assert series["step"].summary.count == 3 * 4 * 8
    cold = value.of_kind("cold")[0]
    assert series["cold_load"].values == (sum(load.end_s - load.start_s for load in cold.loads),)
    assert series["cold_load"].values[0] > 3 * series["warm_load"].summary.median
    assert series["launch"].summary.count == 4  # the memory run's sampling would slow it


def test_a_component_that_is_loaded_again_counts_once() -> None:
    run = measurement().of_kind("steady")[0]
    assert load_s(replace(run, loads=(*run.loads, *run.loads))) == load_s(run)
    assert load_s(replace(run, loads=())) is None


def test_phases_add_up_to_the_image() -> None:
    value = measurement()
    shares = {share.name: share.median_s for share in phase_shares(value)}
    assert list(shares) == ["text_encoder", "denoise", "vae_decoder", "between"]
    assert shares["between"] == pytest.approx(0.001)
    assert sum(shares.values()) == pytest.approx(
        all_series(value)["steady_image"].summary.median, rel=0.01
    )


def test_the_share_outside_the_runtime_leaves_loading_out() -> None:
    value = measurement()
    share = outside_share(value)
    assert share is not None
    assert 0.004 < share < 0.006  # 0.5 % of the steps and a millisecond
    assert "outside the runtime" not in texts(value)
    runs = [
        replace(run, images=tuple(replace(i, runtime_s=0.9 * i.latency_s) for i in run.images))
        for run in value.runs
    ]
    assert "10.0 % of an image's time was spent outside" in texts(with_runs(value, *runs))


def said(value: Measurement, judgement: Judgement) -> dict[str, str]:
    """What is said of a sustained run with this judgement: text -> weight."""
    run = value.of_kind("sustained")[0]
    judged = Sustained(run=run, judgement=judgement, zero_s=run.images[0].start_s)
    timings = timings_of(value)
    assert timings is not None
    found = findings(value, replace(timings, sustained=(judged,)))
    return {finding.text: finding.weight for finding in found}


@pytest.mark.parametrize(
    ("judgement", "weight", "words"),
    [
        (Judgement(verdict="throttled", steps=99), "warning", "count on the rate at the end"),
        (Judgement(verdict="slowed", steps=99), "warning", "no sensor says why"),
        (Judgement(verdict="flagged", steps=99), "note", "held back, though steps took no longer"),
        (Judgement(verdict="unknown", steps=7), "warning", "7 steps, and 24 over 60 s"),
        (Judgement(verdict="steady", steps=99), "note", "Too few images for a rate"),
        (Judgement(verdict="steady", steps=9, ignored_steps=2), "warning", "2 steps have times"),
    ],
)
def test_a_sustained_runs_verdict_is_a_finding_of_its_weight(
    judgement: Judgement, weight: str, words: str
) -> None:
    found = said(sustained(sustained_run(duration_s=10)), judgement)
    assert [found[text] for text in found if words in text] == [weight]


def test_a_steady_verdict_with_rates_needs_no_word() -> None:
    steady = Judgement(
        verdict="steady", steps=99, start_images_per_minute=9.0, end_images_per_minute=9.0
    )
    found = said(sustained(sustained_run(duration_s=10)), steady)
    assert list(found) == ["Memory was not measured."]


def test_a_sustained_measurement_misses_no_restarts_and_no_percentile() -> None:
    text = "\n".join(finding.text for finding in throttled().findings)
    assert "throttled" in text
    assert "restarts" not in text
    assert "p90" not in text


def test_a_start_temperature_that_did_not_come_is_a_warning() -> None:
    warm = StartTemperature(
        sensor="temperature_c.soc", first_c=71.0, last_c=61.2, waited_s=300.0, reached=False
    )
    falling = replace(sustained(sustained_run(duration_s=10)), start_temperature=warm)
    assert "61.2 °C after 300 s of waiting, and it was still falling" in texts(falling, "warning")
    wanted = replace(falling, start_temperature=replace(warm, wanted_c=45.0))
    assert "and 45.0 °C was asked for" in texts(wanted, "warning")
    reached = replace(falling, start_temperature=replace(warm, reached=True))
    assert "Not cooled down" not in texts(reached)


def test_a_sustained_run_that_awaited_no_temperature_says_so() -> None:
    value = replace(sustained(sustained_run(duration_s=10)), start_temperature=None)
    assert "No temperature was awaited" in texts(value, "note")
    assert "No temperature was awaited" not in texts(measurement())


def test_an_emulated_sustained_run_is_not_judged() -> None:
    value = sustained()
    emulated = replace(value, environment=replace(value.environment, emulated=True))
    assert analyse(emulated).timings is None
    text = texts(emulated)
    assert "No latency, rate or energy is shown; the raw samples are kept" in text
    for word in ("throttled", "Noisy", "outside the runtime", "core"):
        assert word not in text


def test_a_sustained_runs_start_counts_and_its_images_are_no_series() -> None:
    series = all_series(sustained())
    assert list(series) == ["launch", "cold_load", "warm_load", "cold_first_image", "first_image"]
    assert series["launch"].summary.count == 2
    assert series["warm_load"].summary.median == pytest.approx(0.5)


def test_what_reading_the_sensors_takes_is_told_where_it_is_much() -> None:
    value, timings = throttled().measurement, throttled().timings
    assert timings is not None
    cost = timings.sampling
    assert cost is not None
    assert cost.reading_s == pytest.approx(0.003)
    assert cost.core_share == pytest.approx(0.003)  # one reading a second
    assert "Reading the sensors" not in "".join(f.text for f in throttled().findings)
    run = value.of_kind("sustained")[0]
    slow = replace(run, sensors=tuple(replace(each, cost_s=0.08) for each in run.sensors))
    dear = with_runs(value, slow)
    text = "".join(f.text for f in findings(dear, replace(timings, sampling=sampling_cost(dear))))
    assert "Reading the sensors took 8.0 % of a core" in text
    assert sampling_cost(measurement()) is None


def test_figures_of_an_android_device_are_labelled_cpu() -> None:
    found = measurement()
    android = replace(found.environment, operating_system="Android 15, Linux 6.1")
    assert any(text.startswith("CPU:") for text in notes_of(replace(found, environment=android)))
    assert not any(text.startswith("CPU:") for text in notes_of(found))


def notes_of(value: Measurement) -> list[str]:
    return [each.text for each in analyse(value).findings if each.weight == "note"]
