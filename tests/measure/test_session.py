"""A whole benchmark: a tiny package, the real runner, real processes."""

import json
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.codec import decode, dump_json
from edgegen.core.errors import ConfigError, IntegrityError, ParityError, RunnerError
from edgegen.core.measurement import Measurement
from edgegen.measure.plan import BenchPlan, BenchSettings, plan
from edgegen.measure.session import measure
from edgegen.runner.job import GenerateJob, GoldenJob, Job
from edgegen.runner.protocol import Check, Event, Hello, Load
from edgegen.runner.session import RunnerSession
from tests.tiny_packages import change_manifest, onnx_package

GOLDEN = {
    "folder": "golden",
    "prompt": "the cat",
    "width": 32,
    "height": 32,
    "steps": 2,
    "guidance": 3.0,
    "seed": 0,
    "scheduler": "DDIMScheduler",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("bench") / "package")


@pytest.fixture
def own_package(tmp_path: Path) -> Path:
    """A package that a test may change."""
    return onnx_package(tmp_path / "package")


@pytest.fixture(scope="module")
def measured(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    settings = BenchSettings(images=6, steps=4, seed=3, threads=1, prompt="the dog")
    pictures = tmp_path_factory.mktemp("pictures")
    found = measure(plan(package, settings), pictures=pictures)
    assert [path.suffix for path in pictures.iterdir()] == [".png"]
    return found


def test_a_benchmark_runs_each_kind_in_processes_of_their_own(measured: Measurement) -> None:
    assert [run.kind for run in measured.runs] == ["cold", "steady", "steady", "steady", "memory"]
    assert [len(run.images) for run in measured.runs] == [1, 3, 3, 3, 1]
    assert all(len(image.steps) == 4 for run in measured.runs for image in run.images)
    starts = [run.started_s for run in measured.runs]
    assert starts == sorted(starts)
    assert all(run.launch_s > 0.02 for run in measured.runs)


def test_only_the_memory_run_samples_memory_and_only_the_steady_ones_sensors(
    measured: Measurement,
) -> None:
    assert [run.memory is not None for run in measured.runs] == [False] * 4 + [True]
    assert [bool(run.sensors) for run in measured.runs] == [False, True, True, True, False]
    memory = measured.runs[-1].memory
    assert memory is not None
    if memory.peak_pss_bytes is not None:
        assert memory.peak_pss_bytes > 10_000_000


def test_every_image_of_the_same_seed_is_the_same(measured: Measurement) -> None:
    hashes = {image.sha256 for run in measured.runs for image in run.images}
    assert len(hashes) == 1
    assert {image.seed for run in measured.runs for image in run.images} == {3}


def test_a_measurement_says_what_ran_where(measured: Measurement) -> None:
    assert measured.workload.providers == ("CPUExecutionProvider",)
    assert measured.workload.scheduler == "DDIMScheduler"
    assert measured.workload.prompt == "the dog"
    assert {"edgegen", "runner", "python", "numpy", "onnxruntime"} <= set(
        measured.environment.versions
    )
    assert measured.package.recipe == "fp32"
    assert len(measured.package.manifest_sha256) == 64
    assert decode(Measurement, json.loads(dump_json(measured)), source="test") == measured


def test_a_plan_says_what_will_run_and_touches_nothing(package: Path) -> None:
    before = sorted(package.rglob("*"))
    planned = plan(package, BenchSettings(images=7, restarts=3))
    assert [(run.kind, run.images, run.warmup_images) for run in planned.runs] == [
        ("cold", 1, 0),
        ("steady", 3, 1),
        ("steady", 3, 1),
        ("steady", 3, 1),
        ("memory", 1, 0),
    ]
    assert planned.images == 14
    assert planned.estimated_s > 0
    assert sorted(package.rglob("*")) == before


def test_a_quick_plan_is_short_and_says_so(package: Path) -> None:
    planned = plan(package, BenchSettings(images=50, quick=True))
    assert [run.kind for run in planned.runs] == ["cold", "steady"]
    assert planned.images == 5
    assert planned.quick


def test_more_steps_are_estimated_to_take_longer(
    own_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.measure.estimate._matmul_operations_per_s", lambda: 1e10)
    manifest = json.loads((own_package / "edgegen.json").read_text())
    for component in manifest["components"]:
        if component["spec"]["role"] == "denoiser":
            component["spec"]["parameters"] = 860_000_000
    change_manifest(own_package, components=manifest["components"])
    few, many = (
        plan(own_package, BenchSettings(steps=steps, width=512, height=512)).estimated_s
        for steps in (1, 50)
    )
    assert many > 5 * few


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("builtin:emoji", "panda"),
        ("builtin:scenes", "three tomatoes on a blue background"),
        ("somebody/model", GOLDEN["prompt"]),
    ],
)
def test_the_default_prompt_suits_the_model(own_package: Path, model: str, prompt: str) -> None:
    manifest = json.loads((own_package / "edgegen.json").read_text())
    change_manifest(own_package, source={**manifest["source"], "model": model}, golden=GOLDEN)
    assert plan(own_package, BenchSettings()).workload.prompt == prompt
    assert plan(own_package, BenchSettings(prompt="")).workload.prompt == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (BenchSettings(images=0), "--images"),
        (BenchSettings(restarts=0), "--restarts"),
        (BenchSettings(steps=-1), "--steps"),
        (BenchSettings(seed=-1), "--seed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    package: Path, settings: BenchSettings, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(package, settings)


def test_a_folder_that_is_no_package_is_refused_with_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, BenchSettings())
    assert "edgegen package" in caught.value.hint


def test_a_path_that_leaves_the_package_is_refused_before_anything_is_read(
    own_package: Path,
) -> None:
    outside = {"path": "../../secret", "sha256": "0" * 64, "size_bytes": 1}
    change_manifest(own_package, files=[outside])
    with pytest.raises(IntegrityError, match="leaves the folder"):
        plan(own_package, BenchSettings())


def played(*answers: list[Event]) -> tuple[list[Job], Any]:
    """A runner that gives one list of events a job, and the jobs that it was given."""
    jobs: list[Job] = []
    waiting: Iterator[list[Event]] = iter(answers)

    def runner(job: Job) -> Generator[Event]:
        jobs.append(job)
        yield from next(waiting)

    return jobs, runner


@pytest.fixture(scope="module")
def hello(package: Path) -> Hello:
    from edgegen.runner.job import DescribeJob

    first = next(iter(RunnerSession().events(DescribeJob())))
    assert isinstance(first, Hello)
    return replace(first, t=0.0)


def check(layer: Any, *, passed: bool, psnr_db: float | None) -> Check:
    return Check(
        t=0.0,
        layer=layer,
        name="image",
        psnr_db=psnr_db,
        threshold_db=45.0,
        max_abs_error=0.1,
        passed=passed,
        why="" if passed else "12.3 dB is below 45 dB" if psnr_db else "3 values are not finite",
    )


def with_golden(package: Path) -> BenchPlan:
    change_manifest(package, golden=GOLDEN)
    return plan(package, BenchSettings())


def test_a_device_that_makes_another_image_is_reported_not_timed(
    own_package: Path, hello: Hello
) -> None:
    failed = check("image", passed=False, psnr_db=12.3)
    jobs, runner = played([hello, check("trajectory", passed=True, psnr_db=80.0), failed])
    with pytest.raises(ParityError, match=r"12\.3 dB is below 45 dB. Nothing was timed"):
        measure(with_golden(own_package), runner=runner)
    assert [type(job) for job in jobs] == [GoldenJob]


def test_a_golden_image_that_is_not_finite_is_reported(own_package: Path, hello: Hello) -> None:
    _, runner = played([hello, check("image", passed=False, psnr_db=None)])
    with pytest.raises(ParityError, match="are not finite"):
        measure(with_golden(own_package), runner=runner)


def test_the_golden_case_runs_first_and_its_checks_are_kept(
    own_package: Path, hello: Hello
) -> None:
    passed = check("image", passed=True, psnr_db=70.0)
    empty: list[Event] = [hello]
    jobs, runner = played([hello, passed], *[empty] * 5)
    found = measure(with_golden(own_package), runner=runner)
    assert isinstance(jobs[0], GoldenJob)
    assert [each.psnr_db for each in found.golden] == [70.0]


def test_a_component_that_falls_back_to_another_provider_is_a_failure(
    package: Path, hello: Hello
) -> None:
    load = Load(t=0.0, component="unet", start=0.0, end=1.0, providers=("CPUExecutionProvider",))
    _, runner = played([hello, load])
    planned = plan(package, BenchSettings(providers=("CUDAExecutionProvider",)))
    with pytest.raises(RunnerError, match="unet was to run on CUDAExecutionProvider"):
        measure(planned, runner=runner)


def test_settings_reach_every_job_of_the_runner(package: Path, hello: Hello) -> None:
    settings = BenchSettings(
        negative_prompt="blurry",
        scheduler="euler",
        width=64,
        height=64,
        guidance=1.5,
        threads=2,
        residency="sequential",
        memory="fast",
    )
    jobs, runner = played(*[[hello]] * 5)
    measure(plan(package, settings), runner=runner)
    generate = [job for job in jobs if isinstance(job, GenerateJob)]
    assert len(generate) == 5
    for job in generate:
        assert job.request.scheduler == "euler"
        assert (job.request.width, job.request.height) == (64, 64)
        assert (job.request.negative_prompt, job.request.guidance) == ("blurry", 1.5)
        assert (job.backend.threads, job.backend.memory) == (2, "fast")
        assert job.residency == "sequential"
    assert [job.output for job in generate] == [None] * 5
    assert [job.measure_memory for job in generate] == [False] * 4 + [True]


def test_what_is_not_asked_for_is_what_the_runner_does_by_itself() -> None:
    from edgegen_runner.backends import BackendOptions
    from edgegen_runner.job import GenerateJob as RunnersJob

    assert BenchSettings().memory == BackendOptions().memory
    assert BenchSettings().residency == RunnersJob(package=Path()).residency


def test_the_runners_own_error_reaches_the_user(package: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-scheduler"):
        measure(plan(package, BenchSettings(scheduler="no-such-scheduler", quick=True)))


def test_a_runner_that_says_nothing_is_an_error(package: Path) -> None:
    _, runner = played([])
    with pytest.raises(RunnerError, match="without a word"):
        measure(plan(package, BenchSettings()), runner=runner)
