"""Jobs in real processes of the runner, on tiny ONNX packages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgegen.core.errors import (
    ConfigError,
    IntegrityError,
    MissingDependencyError,
    RunnerError,
)
from edgegen.core.shipped import shipped
from edgegen.runner.job import (
    Backend,
    DescribeJob,
    GenerateJob,
    GoldenJob,
    Job,
    ProbeJob,
    Request,
    Sensors,
    SeriesJob,
    job_line,
)
from edgegen.runner.pack import packed_runner
from edgegen.runner.protocol import Check, Hello, ImageEnd, Load, Memory, Phase, Sample, Step, Warn
from edgegen.runner.session import RunnerSession, generate
from tests.tiny_packages import change_manifest, onnx_package

PROMPT = ("a cat",)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("tiny") / "package")


@pytest.fixture(scope="module")
def schema() -> Any:
    path = shipped("device_runners") / "protocol.schema.json"
    return jsonschema.Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


def events(job: Job) -> list[Any]:
    return list(RunnerSession().events(job))


def copy(package: Path, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(package, folder))


def write_probes(package: Path, golden: Path) -> None:
    """Write a probe of each component of a tiny ONNX package, two samples, by onnxruntime."""
    import onnxruntime

    draws = np.random.default_rng(0)
    for component in json.loads((package / "edgegen.json").read_text())["components"]:
        name, feeds = component["spec"]["name"], {}
        for tensor in component["spec"]["inputs"]:
            names = {axis: 8 for axis in tensor["shape"] if isinstance(axis, str)} | {"batch": 2}
            shape = [names.get(axis, axis) for axis in tensor["shape"]]
            is_text = tensor["dtype"] == "int64"
            numbers = draws.integers(0, 600, shape) if is_text else draws.random(shape)
            feeds[tensor["name"]] = np.asarray(numbers, tensor["dtype"])
            np.save(golden / f"{name}.in.{tensor['name']}.npy", feeds[tensor["name"]])
        session = onnxruntime.InferenceSession(
            package / component["path"], providers=["CPUExecutionProvider"]
        )
        outputs = [tensor["name"] for tensor in component["spec"]["outputs"]]
        for output, value in zip(outputs, session.run(outputs, feeds), strict=True):
            np.save(golden / f"{name}.out.{output}.npy", value)


def golden_package(package: Path, folder: Path) -> Path:
    """Give a package the golden case that it computes itself."""
    copy(package, folder)
    golden = folder / "golden"
    golden.mkdir()
    pixels = folder.parent / "pixels"
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=PROMPT, negative_prompt="dog", steps=2, seed=4, guidance=3.0),
        output=str(pixels),
        save_trajectory=str(golden),
    )
    (image,) = generate(job)
    for i in range(2):
        (golden / f"0.{i}.npy").rename(golden / f"trajectory.{i}.npy")
    from edgegen_runner.png_reader import read_png

    assert image.path is not None
    levels = read_png(Path(image.path)).astype(np.float32) / np.float32(127.5) - 1
    np.save(golden / "image.npy", np.ascontiguousarray(levels.transpose(2, 0, 1)[None]))
    write_probes(package, golden)
    case = {
        "folder": "golden",
        "prompt": PROMPT[0],
        "negative_prompt": "dog",
        "width": 32,
        "height": 32,
        "steps": 2,
        "guidance": 3.0,
        "seed": 4,
        "scheduler": "DDIMScheduler",
    }
    change_manifest(folder, golden=case)
    return folder


@pytest.fixture(scope="module")
def golden(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the package with a golden case: copy it before changing it."""
    return golden_package(package, tmp_path_factory.mktemp("golden") / "package")


def test_every_event_and_job_validates_against_the_schema(
    package: Path, golden: Path, tmp_path: Path, schema: Any
) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    np.save(inputs / "latent_sample.npy", np.zeros((1, 4, 8, 8), dtype=np.float32))
    jobs: list[Job] = [
        GenerateJob(
            package=str(package),
            request=Request(prompts=(*PROMPT, "dog " * 90), negative_prompt="", count=2, eta=0.5),
            output=str(tmp_path / "out"),
            warmup_images=1,
            residency="sequential",
            sensors=Sensors(interval_s=0.1),
            measure_memory=True,
            verify=True,
        ),
        GoldenJob(package=str(golden)),
        ProbeJob(
            package=str(package),
            component="vae_decoder",
            inputs=str(inputs),
            outputs=str(tmp_path / "outputs"),
        ),
        DescribeJob(),
    ]
    jobs.append(SeriesJob(jobs=(jobs[2], jobs[1])))
    seen = set()
    for job in jobs:
        schema.validate(json.loads(job_line(job)))
        for data in RunnerSession().raw_events(job):
            schema.validate(data)
            seen.add(data["event"])
    with pytest.raises(ConfigError):
        events(GenerateJob(package=str(package)))
    known = set(schema.schema["$defs"]["event"]["properties"]["event"]["enum"])
    assert known - seen == {"error"}


def test_schema_and_decoder_name_the_same_events_and_fields(schema: Any) -> None:
    import dataclasses

    from edgegen.runner.protocol import EVENTS

    definitions = {
        definition["properties"]["event"]["const"]: definition
        for definition in schema.schema["$defs"].values()
        if "const" in definition.get("properties", {}).get("event", {})
    }
    assert set(definitions) == set(EVENTS)
    for name, kind in EVENTS.items():
        fields = {field.name for field in dataclasses.fields(kind)} | {"event"}
        assert fields == set(definitions[name]["properties"]), name


def test_images_come_with_phases_steps_and_times_that_nest(package: Path, tmp_path: Path) -> None:
    found = events(
        GenerateJob(
            package=str(package),
            request=Request(prompts=PROMPT, steps=4),
            output=str(tmp_path),
            file_names=("mine.png",),
        )
    )
    assert isinstance(found[0], Hello)
    assert [e.component for e in found if isinstance(e, Load)] == [
        "text_encoder",
        "unet",
        "vae_decoder",
    ]
    phases = {e.name: e for e in found if isinstance(e, Phase)}
    assert list(phases) == ["text_encoder", "denoise", "vae_decoder"]
    steps = [e for e in found if isinstance(e, Step)]
    assert [e.index for e in steps] == [0, 1, 2, 3]
    assert {e.of for e in steps} == {4}
    (end,) = [e for e in found if isinstance(e, ImageEnd)]
    assert end.path == str(tmp_path / "mine.png")
    assert end.start <= phases["text_encoder"].start
    assert phases["denoise"].start <= steps[0].start
    assert steps[-1].end <= phases["denoise"].end
    assert phases["vae_decoder"].end <= end.end
    inside = sum(phase.runtime_s for phase in phases.values())
    assert end.runtime_s == pytest.approx(inside)
    assert all(phase.runtime_s <= phase.end - phase.start for phase in phases.values())
    assert sum(step.runtime_s for step in steps) == pytest.approx(phases["denoise"].runtime_s)


def test_same_seed_gives_the_same_pixels_whatever_the_residency_and_batch(package: Path) -> None:
    def hashes(**options: Any) -> list[str]:
        request = Request(
            prompts=PROMPT, negative_prompt="dog", seed=5, count=2, **options.pop("request", {})
        )
        return [
            image.sha256
            for image in generate(GenerateJob(package=str(package), request=request, **options))
        ]

    first = hashes()
    assert len(set(first)) == 2
    assert hashes(residency="sequential") == first
    assert hashes(residency="drawing") == first
    assert hashes(request={"guidance_batch": 1}) == first
    assert hashes(backend=Backend(memory="fast", threads=1)) == first
    one = GenerateJob(
        package=str(package), request=Request(prompts=PROMPT, negative_prompt="dog", seed=6)
    )
    assert [image.sha256 for image in generate(one)] == first[1:]


def test_sequential_residency_holds_one_component_and_encodes_a_text_once(package: Path) -> None:
    found = list(
        RunnerSession().raw_events(
            GenerateJob(
                package=str(package),
                request=Request(prompts=PROMPT, count=2),
                residency="sequential",
            )
        )
    )
    held = 0
    for event in found:
        held += {"load": 1, "free": -1}.get(event["event"], 0)
        assert 0 <= held <= 1
    loads = [event["component"] for event in found if event["event"] == "load"]
    assert loads == ["text_encoder", "unet", "vae_decoder", "unet", "vae_decoder"]
    ends = [event for event in found if event["event"] == "image_end"]
    assert all(0 < event["load_s"] < event["end"] - event["start"] for event in ends)


def test_residency_drawing_holds_what_draws_and_no_encoder_beside_it(package: Path) -> None:
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=(*PROMPT, "a small dog"), count=2),
        residency="drawing",
    )
    found = [event for event in RunnerSession().raw_events(job) if event["event"] != "step"]
    held: set[str] = set()
    for event in found:
        if event["event"] == "load":
            held.add(event["component"])
        elif event["event"] == "free":
            held.remove(event["component"])
        assert held <= {"unet", "vae_decoder"} or held == {"text_encoder"}
    loads = [event["component"] for event in found if event["event"] == "load"]
    # The second prompt has its encoder to itself again.
    assert loads == ["text_encoder", "unet", "vae_decoder"] * 2


def test_warmups_and_repeats_are_counted_but_only_repeats_are_written(
    package: Path, tmp_path: Path
) -> None:
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=PROMPT, seed=3),
        output=str(tmp_path),
        warmup_images=2,
        repeat=2,
    )
    ends = [event for event in events(job) if isinstance(event, ImageEnd)]
    assert [event.image for event in ends] == [0, 1, 2, 3]
    assert [event.path is None for event in ends] == [True, True, False, False]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000-seed3.png",
        "0001-seed3.png",
    ]
    assert len({event.sha256 for event in ends}) == 1


def test_duration_ends_the_job_after_at_least_one_round(package: Path) -> None:
    job = GenerateJob(
        package=str(package), request=Request(prompts=PROMPT, count=2), duration_s=0.2
    )
    assert len(generate(job)) >= 2


def test_trajectory_holds_the_latents_after_each_step(package: Path, tmp_path: Path) -> None:
    job = GenerateJob(
        package=str(package),
        request=Request(prompts=PROMPT, steps=3),
        save_trajectory=str(tmp_path),
    )
    events(job)
    arrays = [np.load(tmp_path / f"0.{i}.npy") for i in range(3)]
    assert {array.shape for array in arrays} == {(1, 4, 16, 16)}
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    assert not np.array_equal(arrays[0], arrays[1])


def test_given_latents_replace_the_first_draw(package: Path, tmp_path: Path) -> None:
    from edgegen_runner.torch_random import TorchGenerator

    np.save(tmp_path / "latents.npy", TorchGenerator(8).randn((1, 4, 16, 16)))
    drawn = generate(GenerateJob(package=str(package), request=Request(prompts=PROMPT, seed=8)))
    given = Request(prompts=PROMPT, seed=1, latents=str(tmp_path / "latents.npy"))
    assert generate(GenerateJob(package=str(package), request=given))[0].sha256 == drawn[0].sha256
    wrong = Request(prompts=PROMPT, width=48, latents=str(tmp_path / "latents.npy"))
    with pytest.raises(ConfigError, match="shape"):
        events(GenerateJob(package=str(package), request=wrong))


def test_long_prompt_warns_once_of_what_was_cut(package: Path) -> None:
    request = Request(prompts=("the " * 80 + "singing",), count=2)
    warnings = [
        e for e in events(GenerateJob(package=str(package), request=request)) if isinstance(e, Warn)
    ]
    assert len(warnings) == 1
    assert "singing" in warnings[0].message


def test_memory_and_sensors_are_told_when_asked_for(package: Path) -> None:
    found = events(
        GenerateJob(
            package=str(package),
            request=Request(prompts=PROMPT),
            measure_memory=True,
            sensors=Sensors(interval_s=0.05),
        )
    )
    (memory,) = [event for event in found if isinstance(event, Memory)]
    if sys.platform == "linux":
        assert memory.peak_pss_bytes is not None
        assert memory.peak_pss_bytes > 20 << 20
    samples = [event for event in found if isinstance(event, Sample)]
    assert len(samples) >= 2
    assert {frozenset(sample.values) for sample in samples} == {frozenset(samples[0].values)}


def test_golden_case_passes_on_its_own_package_and_fails_on_another_image(
    golden: Path, tmp_path: Path
) -> None:
    folder = copy(golden, tmp_path / "golden")
    checks = [e for e in events(GoldenJob(package=str(folder))) if isinstance(e, Check)]
    assert [check.layer for check in checks] == 3 * ["component"] + 2 * ["trajectory"] + ["image"]
    assert all(check.passed for check in checks)
    image = folder / "golden" / "image.npy"
    np.save(image, np.load(image) * np.float32(0.9))
    checks = [e for e in events(GoldenJob(package=str(folder))) if isinstance(e, Check)]
    assert not checks[-1].passed
    assert checks[-1].psnr_db is not None
    assert 5 < checks[-1].psnr_db < 60


def test_golden_case_fails_where_one_sample_of_a_batch_does(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, tmp_path / "golden")
    path = folder / "golden" / "unet.out.out_sample.npy"
    array = np.load(path)
    array[1] += np.float32(1e-3)
    np.save(path, array)
    checks = [e for e in events(GoldenJob(package=str(folder))) if isinstance(e, Check)]
    failed = [check for check in checks if not check.passed]
    assert [check.name for check in failed] == ["unet.out_sample"]
    assert "is below 90 dB" in failed[0].why


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unet.in.sample.npy", "cannot be read"),
        ("vae_decoder.out.sample.npy", "cannot be read"),
        ("trajectory.0.npy", "no trajectory"),
        ("image.npy", "cannot be read"),
    ],
)
def test_golden_case_that_is_not_whole_is_refused(
    name: str, says: str, golden: Path, tmp_path: Path
) -> None:
    folder = copy(golden, tmp_path / "golden")
    (folder / "golden" / name).unlink()
    with pytest.raises(IntegrityError, match=says):
        events(GoldenJob(package=str(folder)))


def test_golden_case_of_fewer_steps_than_are_made_fails(golden: Path, tmp_path: Path) -> None:
    folder = copy(golden, tmp_path / "golden")
    (folder / "golden" / "trajectory.1.npy").unlink()
    checks = [e for e in events(GoldenJob(package=str(folder))) if isinstance(e, Check)]
    failed = [check for check in checks if not check.passed]
    assert [(check.name, check.why) for check in failed] == [
        ("steps", "the runner made 2 steps, torch 1")
    ]


def test_probe_computes_what_onnxruntime_computes(package: Path, tmp_path: Path) -> None:
    import onnxruntime

    latents = np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype(np.float32)
    np.save(tmp_path / "latent_sample.npy", latents)
    events(
        ProbeJob(
            package=str(package),
            component="vae_decoder",
            inputs=str(tmp_path),
            outputs=str(tmp_path / "out"),
        )
    )
    session = onnxruntime.InferenceSession(
        package / "vae_decoder" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (expected,) = session.run(None, {"latent_sample": latents})
    assert np.abs(np.load(tmp_path / "out" / "sample.npy") - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("request_", "error", "says"),
    [
        ({"scheduler": "eulr"}, ConfigError, "Did you mean 'euler'"),
        ({"scheduler": "RePaintScheduler"}, ConfigError, "RePaintPipeline alone"),
        ({"width": 33}, ConfigError, "multiples of 2"),
        ({"steps": 2000}, ConfigError, "2000"),
        ({"image": "missing.png"}, ConfigError, "no vae_encoder"),
        ({"prompts": None}, ConfigError, "prompt"),
        ({"prompts": ("half a \ud83d surrogate",)}, ConfigError, "surrogates not allowed"),
    ],
)
def test_impossible_request_is_a_config_error(
    package: Path, request_: dict[str, Any], error: type[Exception], says: str
) -> None:
    request = Request(**{"prompts": PROMPT, **request_})
    with pytest.raises(error, match=says):
        events(GenerateJob(package=str(package), request=request))


def test_a_size_that_the_levels_cannot_halve_is_refused_with_the_next_that_they_can(
    package: Path, tmp_path: Path
) -> None:
    folder = copy(package, tmp_path / "even")
    manifest = json.loads((folder / "edgegen.json").read_text(encoding="utf-8"))
    manifest["generation"]["latent_multiple"] = 8
    (folder / "edgegen.json").write_text(json.dumps(manifest), encoding="utf-8")
    request = Request(prompts=PROMPT, width=40, height=32)
    with pytest.raises(ConfigError, match="multiples of 16, and 40 × 32") as caught:
        events(GenerateJob(package=str(folder), request=request))
    assert "32 × 32" in str(caught.value.hint)


def test_wrong_hash_missing_provider_and_missing_runtime_are_named(
    package: Path, tmp_path: Path
) -> None:
    folder = copy(package, tmp_path / "changed")
    tokenizer = folder / "tokenizer" / "merges.txt"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    request = Request(prompts=PROMPT)
    with pytest.raises(IntegrityError, match=r"merges.txt.*sha256"):
        events(GenerateJob(package=str(folder), request=request, verify=True))
    with pytest.raises(RunnerError, match="no NoSuchExecutionProvider") as caught:
        events(
            GenerateJob(
                package=str(package),
                request=request,
                backend=Backend(providers=("NoSuchExecutionProvider",)),
            )
        )
    assert "CPUExecutionProvider" in caught.value.hint
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(MissingDependencyError, match="onnxruntime cannot be imported"):
            events(GenerateJob(package=str(package), request=request))


def test_broken_model_file_is_an_error_with_the_runtimes_words(
    package: Path, tmp_path: Path
) -> None:
    folder = copy(package, tmp_path / "broken")
    (folder / "unet" / "model.onnx").write_bytes(b"no protobuf")
    with pytest.raises(RunnerError, match="onnxruntime cannot load"):
        events(GenerateJob(package=str(folder), request=Request(prompts=PROMPT)))


def test_killed_runner_is_reported_with_where_it_was(package: Path) -> None:
    job = GenerateJob(
        package=str(package), request=Request(prompts=PROMPT, steps=900), duration_s=60
    )
    stream = RunnerSession().events(job)
    hello = next(stream)
    assert isinstance(hello, Hello)
    next(event for event in stream if isinstance(event, Step))
    os.kill(hello.pid, signal.SIGKILL)
    with pytest.raises(RunnerError, match=r"SIGKILL.*memory.*step \d+ of 900"):
        list(stream)


def test_closing_the_events_ends_the_runner(package: Path) -> None:
    job = GenerateJob(package=str(package), request=Request(prompts=PROMPT), duration_s=60)
    stream = RunnerSession().events(job)
    hello = next(stream)
    assert isinstance(hello, Hello)
    stream.close()
    with pytest.raises(ProcessLookupError):
        os.kill(hello.pid, 0)


def start(job: bytes) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, str(packed_runner())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(job + b"\n")
    process.stdin.flush()
    return process


def test_watchdog_ends_the_runner_when_its_standard_input_closes(package: Path) -> None:
    job = GenerateJob(package=str(package), request=Request(prompts=PROMPT), duration_s=60)
    with start(job_line(job).encode()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while b'"step"' not in process.stdout.readline():
            pass
        process.stdin.close()
        closed = time.monotonic()
        process.stdout.read()
        assert process.wait(10) == 4
        assert time.monotonic() - closed < 2


def test_runner_whose_input_ends_without_a_job_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, str(packed_runner())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert b"--help" in done.stderr


def test_what_native_code_prints_cannot_break_the_protocol(package: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, os, threading, time\n"
        "def shout():\n"
        "    while True: os.write(1, b'noise from a native library\\n'); time.sleep(0.001)\n"
        "threading.Timer(0.4, shout).start()\n"
        "import threading as t; t._shutdown = lambda: None\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        job = GenerateJob(package=str(package), request=Request(prompts=PROMPT), duration_s=1.0)
        assert any(isinstance(event, ImageEnd) for event in RunnerSession().events(job))


def test_rubbish_job_is_refused_with_the_nearest_key(schema: Any) -> None:
    with start(b'{"command": "generate", "package": "x", "reqest": {}}') as process:
        assert process.stdout is not None
        (line,) = process.stdout.readlines()
        assert process.wait(10) == 1
    error = json.loads(line)
    schema.validate(error)
    assert error["kind"] == "bad-request"
    assert "Did you mean 'request'" in error["hint"]


def test_runner_works_by_hand(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cat.png"
    done = subprocess.run(
        [
            *(sys.executable, str(packed_runner()), "--package", str(package)),
            *("--prompt", "a cat", "--seed", "2", "-o", str(path)),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{path}\n"
    assert "step 3 of 3" in done.stderr
    host = generate(
        GenerateJob(
            package=str(package),
            request=Request(prompts=PROMPT, seed=2),
            output=str(tmp_path / "host"),
        )
    )
    assert host[0].path is not None
    assert Path(host[0].path).read_bytes() == path.read_bytes()
