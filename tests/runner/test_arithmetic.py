"""The choice of the fastest arithmetic that draws what a package promises."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, ParityError, RunnerError
from edgegen.core.package import PackageManifest
from edgegen.runner import arithmetic
from edgegen.runner.arithmetic import fastest_arithmetic
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.protocol import Check, Event, Hello, Load, Part, Platform, Runtime
from tests.tiny_packages import manifest

GENERATION = {"width": 32, "height": 32, "latent_channels": 4}
GOLDEN = {
    "folder": "golden",
    "prompt": "a",
    "negative_prompt": None,
    "width": 32,
    "height": 32,
    "steps": 2,
    "guidance": 1.0,
    "seed": 0,
    "scheduler": "DDIMScheduler",
}


class PlayedRunner:
    """Draws the golden case in given times and decibels; `inf` of time is a runner that fails."""

    types = ("float32", "bfloat16", "float16")
    times_s: dict[str, float]
    psnr_db: dict[str, float]
    drawn: list[str]

    def __init__(self, **_: Any) -> None:
        pass

    def events(self, job: Any) -> Generator[Event]:
        runtime = Runtime(name="r", version="1", providers=("CPU",), arithmetics=self.types)  # type: ignore[arg-type]  # of the protocol
        machine = Platform(
            system="Linux", release="6", machine="x", cpu="c", cores=2, memory_bytes=None
        )
        yield Hello(
            t=0.0,
            schema=1,
            runner_version="1",
            python="3",
            numpy="2",
            runtime=runtime,
            platform=machine,
            pid=1,
            started=0.0,
        )
        if isinstance(job, DescribeJob):
            return
        name = job.jobs[0].backend.arithmetic
        self.drawn.append(name)
        if self.times_s[name] == float("inf"):
            raise RunnerError("It fell over.")
        t = 1.0
        for index, slower in enumerate((3.0, 1.0)):  # the first is cold
            yield Load(t=t + 9, component="unet", start=t, end=t + 9, providers=("CPU",))
            t += 9 + slower * self.times_s[name]
            psnr_db = self.psnr_db[name]
            passed = psnr_db >= 60
            why = "" if passed else f"{psnr_db:g} dB is below 60 dB"
            yield Check(
                t=t,
                layer="image",
                name="pixels",
                psnr_db=psnr_db,
                threshold_db=60,
                max_abs_error=0.0,
                passed=passed,
                why=why,
            )
            yield Part(t=t, index=index, cpu_s=1.0)


def of(**changes: Any) -> PackageManifest:
    made = manifest(
        family="stable-diffusion",
        pipeline_class="StableDiffusionPipeline",
        generation=GENERATION,
        components=(),
        golden=GOLDEN,
    )
    return decode(PackageManifest, {**made, **changes}, source="test")


def played(monkeypatch: pytest.MonkeyPatch, folder: Path, **facts: Any) -> type[PlayedRunner]:
    runner = type("Played", (PlayedRunner,), {**facts, "drawn": []})
    monkeypatch.setattr(arithmetic, "RunnerSession", runner)
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(folder))
    return runner


ALL = {"float32": 1.0, "bfloat16": 0.5, "float16": 0.7}


def test_the_fastest_that_passes_is_chosen_and_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = {"float32": 100.0, "bfloat16": 50.0, "float16": 61.0}
    runner = played(monkeypatch, tmp_path, times_s=ALL, psnr_db=right)
    choice = fastest_arithmetic("/package", of(), "1" * 64, Backend())
    assert choice.arithmetic == "float16"
    assert [trial.arithmetic for trial in choice.trials] == ["bfloat16", "float16", "float32"]
    assert [round(trial.compute_s, 6) for trial in choice.trials] == [0.5, 0.7, 1.0]
    assert "bfloat16 500 ms (image pixels: 50 dB is below 60 dB)" in choice.reason
    assert runner.drawn == ["float32", "bfloat16", "float16"]

    assert fastest_arithmetic("/package", of(), "1" * 64, Backend()) == choice
    assert len(runner.drawn) == 3
    fastest_arithmetic("/package", of(), "2" * 64, Backend())  # another package
    fastest_arithmetic("/package", of(), "1" * 64, Backend(threads=1))
    assert len(runner.drawn) == 9


def test_a_type_that_fails_is_passed_over_and_not_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    times = {**ALL, "bfloat16": float("inf")}
    right = dict.fromkeys(ALL, 100.0)
    runner = played(monkeypatch, tmp_path, times_s=times, psnr_db=right)
    choice = fastest_arithmetic("/package", of(), "1" * 64, Backend())
    assert choice.arithmetic == "float16"
    assert "It fell over" in choice.reason
    fastest_arithmetic("/package", of(), "1" * 64, Backend())
    assert len(runner.drawn) == 6


def test_no_type_is_chosen_where_none_draws_what_was_promised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played(monkeypatch, tmp_path, times_s=ALL, psnr_db=dict.fromkeys(ALL, 10.0))
    with pytest.raises(ParityError, match="passes in no arithmetic"):
        fastest_arithmetic("/package", of(), "1" * 64, Backend())


def test_nothing_is_drawn_where_there_is_no_choice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = played(monkeypatch, tmp_path, types=("float32",), times_s=ALL, psnr_db=ALL)
    assert fastest_arithmetic("/package", of(), "1" * 64, Backend()).arithmetic == "float32"
    in_float16 = {**dict(of_recipe()), "compute": "float16"}
    choice = fastest_arithmetic("/package", of(recipe=in_float16), "1" * 64, Backend())
    assert choice.arithmetic == "float16"
    assert runner.drawn == []


def test_a_package_without_a_golden_case_is_refused() -> None:
    with pytest.raises(ConfigError, match="no golden case"):
        fastest_arithmetic("/package", of(golden=None), "1" * 64, Backend())


def of_recipe() -> dict[str, Any]:
    made = manifest(
        family="stable-diffusion",
        pipeline_class="StableDiffusionPipeline",
        generation=GENERATION,
        components=(),
    )
    return dict(made["recipe"])
