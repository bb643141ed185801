"""What is said with the figures."""

from dataclasses import replace

import pytest

from edgegen.bench.findings import Finding, findings
from edgegen.bench.series import all_series, load_s, outside_share, phase_shares
from edgegen.core.measurement import ImageSample, Measurement, PageCache, Run
from tests.bench.samples import disturbed, measurement


def texts(value: Measurement, weight: str | None = None) -> str:
    return "\n".join(
        finding.text for finding in findings(value) if weight in (None, finding.weight)
    )


def with_runs(value: Measurement, *runs: Run) -> Measurement:
    return replace(value, runs=runs)


def test_a_quiet_measurement_has_no_warning() -> None:
    assert texts(measurement(), "warning") == ""


def test_an_emulated_busy_quick_measurement_says_all_of_it_and_warnings_come_first() -> None:
    found = findings(disturbed(measurement(restarts=1, images=2)))
    warnings = "\n".join(each.text for each in found if each.weight == "warning")
    for word in ("emulated", "load average 3.70 on 4 cores", "--quick"):
        assert word in warnings
    notes = texts(disturbed(measurement(restarts=1, images=2)), "note")
    for word in ("virtual machine (QEMU)", "powersave", "no golden case", "p90"):
        assert word in notes
    assert found == tuple(sorted(found, key=lambda each: each.weight != "warning"))


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
    assert Finding(weight="note", text="Not seen on this device: power: no sensor.") in findings(
        measurement()
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
