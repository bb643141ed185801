"""Two measurements are compared figure by figure: what changed, what didn't, what is unknown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgegen.compare.measurements import compare_measurements
from edgegen.compare.values import Comparison, size_change
from edgegen.core.errors import ConfigError
from edgegen.core.measurement import ImageSample, Measurement, MemoryPeak, Run, SensorSample
from tests.statistics.samples import disturbed, measurement, sustained
from tests.statistics.test_latencies import simulate

USUAL = measurement(restarts=3, images=6)
NAMES = ("old.json", "new.json")
NONE = "no difference"


def with_latencies(restarts: list[list[float]], *, power_w: float | None = None) -> Measurement:
    """The usual measurement with steady images of these seconds, and a battery's power."""
    others = [run for run in USUAL.runs if run.kind != "steady"]
    steady = [_run(latencies, power_w) for latencies in restarts]
    return replace(USUAL, runs=(others[0], *steady, *others[1:]))


def _run(latencies: list[float], power_w: float | None) -> Run:
    images, now = [], 1.0
    for index, latency in enumerate([latencies[0], *latencies]):
        images.append(
            ImageSample(index=index, seed=0, warmup=index == 0, start_s=now, end_s=now + latency)
        )
        now += latency
    sensors = ()
    if power_w is not None:
        times = np.arange(0.5, now + 0.5, 0.1)
        sensors = tuple(
            SensorSample(time_s=float(time), values={"power_w.battery": power_w}) for time in times
        )
    return Run(
        kind="steady", started_s=0, launch_s=0.3, loads=(), images=tuple(images), sensors=sensors
    )


def with_memory(*sizes_bytes: int | None, resident_bytes: int | None = None) -> Measurement:
    """The usual measurement with memory runs of these peaks."""
    runs = [run for run in USUAL.runs if run.kind != "memory"]
    memory = USUAL.of_kind("memory")[0]
    for size_bytes in sizes_bytes:
        peak = MemoryPeak(
            peak_pss_bytes=size_bytes, peak_resident_bytes=resident_bytes, processes=1
        )
        runs.append(replace(memory, memory=peak))
    return replace(USUAL, runs=tuple(runs))


def compare(old: Measurement, new: Measurement, *, in_turns: bool = False) -> Comparison:
    return compare_measurements(old, new, names=NAMES, in_turns=in_turns)


def verdicts(found: Comparison) -> dict[str, str]:
    return {each.figure: each.verdict for each in found.changes}


def test_a_measurement_is_no_different_from_itself() -> None:
    found = compare(USUAL, USUAL)
    assert verdicts(found) == {
        "latency": "no difference",
        "memory": "no difference",
        "energy": "unknown",
        "size": "no difference",
    }
    energy = found.change_of("energy")
    assert energy is not None
    assert "no sensor" in energy.why


@pytest.mark.parametrize("in_turns", [False, True])
@pytest.mark.parametrize(("factor", "verdict"), [(1.15, "worse"), (0.85, "better")])
def test_a_change_is_found_with_its_size(factor: float, verdict: str, in_turns: bool) -> None:
    generator = np.random.default_rng(1)
    old = np.exp(0.01 * generator.standard_normal((6, 4)))
    new = factor * np.exp(0.01 * generator.standard_normal((6, 4)))
    found = compare(with_latencies(old.tolist()), with_latencies(new.tolist()), in_turns=in_turns)
    latency = found.change_of("latency")
    assert latency is not None
    assert latency.verdict == verdict
    assert latency.change == pytest.approx(factor - 1, abs=0.02)
    assert latency.low is not None
    assert latency.high is not None
    assert latency.low < factor - 1 < latency.high
    assert latency.worse_by == latency.change


def same(generator: np.random.Generator, restarts: int, rho: float) -> Measurement:
    latencies = simulate(generator, restarts, 4, rho=rho, between=1.0)
    return with_latencies(latencies.tolist(), power_w=6.0)


@pytest.mark.parametrize(
    ("restarts", "rho", "in_turns"), [(3, 0.6, False), (6, 0.6, True), (6, 0.9, True)]
)
def test_without_a_difference_none_is_found_in_95_of_100(
    restarts: int, rho: float, in_turns: bool
) -> None:
    # AR(1) noise of 5 %, restarts that are apart by as much; latency, energy, memory and size
    generator = np.random.default_rng(17)
    alarms = 0
    for _ in range(100):
        old, new = (same(generator, restarts, rho) for _ in range(2))
        found = verdicts(compare(old, new, in_turns=in_turns))
        alarms += any(verdict != NONE for verdict in found.values())
    assert alarms <= 5


def test_restarts_that_are_taken_for_images_would_find_far_too_many() -> None:
    # the same noise without its structure: what the intervals are for
    from edgegen.statistics.comparisons import compare_repeats

    generator = np.random.default_rng(17)
    alarms = 0
    for _ in range(100):
        old, new = (simulate(generator, 3, 10, rho=0.6, between=1.0).ravel() for _ in range(2))
        alarms += compare_repeats(old.tolist(), new.tolist(), 0.99).is_real is True  # type: ignore[union-attr]
    assert alarms > 20


def test_a_drift_over_the_session_is_no_difference_in_turns() -> None:
    generator = np.random.default_rng(3)
    session = np.linspace(1.0, 1.2, 12)  # ABBA: OLD's processes are 0, 3, 4, 7, 8, 11
    first = [[0, 3, 4, 7, 8, 11], [1, 2, 5, 6, 9, 10]]
    old, new = (
        [(session[i] * np.exp(0.005 * generator.standard_normal(4))).tolist() for i in places]
        for places in first
    )
    found = compare(with_latencies(old), with_latencies(new), in_turns=True)
    assert verdicts(found)["latency"] == "no difference"


def test_too_few_restarts_say_nothing_but_show_the_change() -> None:
    few = with_latencies([[1.0, 1.0, 1.0]])
    latency = compare(few, with_latencies([[1.5, 1.5, 1.5]])).change_of("latency")
    assert latency is not None
    assert latency.change == pytest.approx(0.5)
    assert latency.verdict == "unknown"
    assert "three restarts" in latency.why


def test_a_sustained_run_has_no_steady_images_to_compare() -> None:
    assert verdicts(compare(sustained(), sustained()))["latency"] == "unknown"


def test_memory_is_compared_beyond_what_runs_differ_by_anyway() -> None:
    for factor, verdict in ((1.01, "no difference"), (1.05, "worse"), (0.9, "better")):
        new = with_memory(round(1_310_000_000 * factor))
        assert verdicts(compare(USUAL, new))["memory"] == verdict
    assert verdicts(compare(with_memory(100, 90), with_memory(95, 100)))["memory"] == NONE
    unknown = compare(with_memory(None), USUAL).change_of("memory")
    assert unknown is not None
    assert unknown.verdict == "unknown"
    assert "OLD" in unknown.why


@pytest.mark.parametrize(("resident", "verdict"), [(201, NONE), (225, "worse")])
def test_a_peak_that_sampling_missed_is_no_difference(resident: int, verdict: str) -> None:
    # a busy machine: 112 MB of 130 were seen, while the kernel's own mark stayed
    old = with_memory(121, resident_bytes=200)
    assert verdicts(compare(old, with_memory(138, resident_bytes=resident)))["memory"] == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.0005, NONE), (1.002, "worse")])
def test_size_is_exact_but_for_the_words_of_a_manifest(factor: float, verdict: str) -> None:
    size_bytes = round(USUAL.package.package_bytes * factor)
    larger = replace(USUAL, package=replace(USUAL.package, package_bytes=size_bytes))
    assert verdicts(compare(USUAL, larger))["size"] == verdict


def test_energy_is_compared_where_a_sensor_sees_the_whole_device() -> None:
    latencies = [[1.0, 1.01, 0.99], [1.0, 0.99, 1.01], [1.01, 1.0, 1.0]]
    old = with_latencies(latencies, power_w=6.0)
    energy = compare(old, with_latencies(latencies, power_w=7.5)).change_of("energy")
    assert energy is not None
    assert energy.old == pytest.approx(6.0, rel=0.02)
    assert energy.change == pytest.approx(0.25, abs=0.02)
    assert energy.verdict == "worse"
    assert verdicts(compare(old, old))["energy"] == "no difference"


def test_times_of_an_emulated_processor_are_not_compared() -> None:
    found = verdicts(compare(disturbed(USUAL), disturbed(USUAL)))
    assert (found["latency"], found["energy"]) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("part", "changed", "said"),
    [
        ("workload", {"steps": 20}, "steps: 8 and 20"),
        ("workload", {"width": 256}, "size: 512×512 and 256×512"),
        ("workload", {"threads": 4}, "threads: 2 and 4"),
        ("workload", {"providers": ("XnnpackExecutionProvider",)}, "providers"),
        ("package", {"weights_sha256": "00" * 32, "model": "another"}, "model: example/tiny"),
        ("environment", {"processor": "another"}, "device's processor"),
        ("environment", {"model": "Raspberry Pi 5"}, "device's model: None and Raspberry"),
        ("environment", {"emulated": True}, "emulation"),
    ],
    ids=range(8),
)
def test_what_is_not_of_the_same_is_refused_with_what_differs(
    part: str, changed: dict[str, object], said: str
) -> None:
    new = replace(USUAL, **{part: replace(getattr(USUAL, part), **changed)})  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=said):
        compare(USUAL, new)


def test_another_prompt_target_or_copy_of_a_model_is_compared() -> None:
    new = replace(
        USUAL,
        workload=replace(USUAL.workload, prompt="a cat", seed=3, providers=("CPU",)),
        package=replace(USUAL.package, target="openvino", model="/a/copy"),
    )
    assert verdicts(compare(USUAL, new))["latency"] == "no difference"


def test_what_should_be_known_is_noted() -> None:
    environment = replace(
        USUAL.environment, governor="powersave", versions={"edgegen": "0.2.0", "numpy": "2.4.0"}
    )
    new = replace(USUAL, quick=True, interrupted="Ctrl-C", environment=environment)
    notes = " ".join(compare(USUAL, new).notes)
    for said in (
        "--quick",
        "Ctrl-C",
        "edgegen 0.1.0 → 0.2.0",
        "onnxruntime 1.32.0 → none",
        "powersave",
    ):
        assert said in notes
    assert "numpy" not in notes


def test_other_weights_of_the_same_name_are_noted() -> None:
    package = replace(USUAL.package, weights_sha256="77" * 32)
    found = compare(USUAL, replace(USUAL, package=package))
    assert any("other weights" in note for note in found.notes)


def test_a_size_of_nothing_is_unknown() -> None:
    assert size_change(0, 10).verdict == "unknown"
    assert size_change(10, 0).verdict == "unknown"


def test_processes_in_turns_that_have_no_pair_are_unknown() -> None:
    old, new = with_latencies([[1.0, 1.1]]), with_latencies([[1.0, 1.1]])
    empty = replace(next(iter(old.of_kind("steady"))), images=())
    old = replace(old, runs=(empty, *old.runs))
    new = replace(new, runs=(*new.runs, empty))
    latency = compare(old, new, in_turns=True).change_of("latency")
    assert latency is not None
    assert (latency.verdict, "no pair" in latency.why) == ("unknown", True)


def test_energy_is_that_of_steady_images() -> None:
    old = with_latencies([[1.0] * 4] * 3, power_w=5.0)
    hot = [
        replace(run, kind="sustained")
        for run in with_latencies([[1.0] * 4], power_w=50.0).of_kind("steady")
    ]
    energy = compare(old, replace(old, runs=(*old.runs, *hot))).change_of("energy")
    assert energy is not None
    assert energy.change == pytest.approx(0.0)
