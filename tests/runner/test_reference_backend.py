"""The reference executor behind the runner: `edgegen run` and `bench` of a Core ML package here."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has Core ML itself")


@pytest.fixture(scope="module")
def built(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("coreml") / "package"
    model = resolve(str(tiny_pipeline("sd15")))
    build(plan(model, target="coreml", destination=destination, recipe="fp16"), parity=False)
    return destination


@pytest.fixture
def package(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "package"))


def test_run_draws_and_says_that_its_times_say_nothing(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "a.png"
    options = ["--prompt", "a", "--steps", "2", "-o", str(picture)]
    assert run(["run", str(package), *options]) == 0
    assert picture.is_file()
    assert "reference executor" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_run_may_compute_in_float32_throughout(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = ["run", str(package), "--prompt", "a", "--steps", "2"]
    assert run([*base, "-o", str(tmp_path / "a.png")]) == 0
    exact = ["--provider", "reference-float32", "-o", str(tmp_path / "b.png")]
    assert run([*base, *exact]) == 0
    capfd.readouterr()
    assert run([*base, "--provider", "NPU", "-o", str(tmp_path / "c.png")]) != 0
    assert "reference-float32" in capfd.readouterr().err


def test_bench_refuses_to_time_it(package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(package), "--prompt", "a", "--quick"]) == 2
    assert "say nothing" in capfd.readouterr().err


def test_a_package_with_damaged_weights_is_told_as_one(
    package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = package / "unet/Unet.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:1000])
    options = ["--prompt", "a", "--steps", "1", "-o", str(tmp_path / "a.png")]
    assert run(["run", str(package), *options]) == 8
    assert "weight.bin" in capfd.readouterr().err
    assert run(["verify", str(package)]) == 8


def test_a_recipe_that_the_profiles_system_cannot_hold_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["-t", "coreml", "-p", "iphone-15-pro", "-r", "int4", "-o", str(tmp_path / "p")]
    assert run(["package", "builtin:emoji", *options]) == 2
    error = capfd.readouterr().err
    assert "iOS 18" in error
    assert "minimum_os" in error


def test_the_profile_decides_attention_and_the_oldest_system(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["-t", "coreml", "-p", "iphone-15-pro", "-o", str(tmp_path / "p"), "--dry-run"]
    assert run(["package", "builtin:emoji", *options, "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["plans"]
    assert (row["recipe"], row["minimum_os"], row["attention"]) == ("palette6", 17, "split-einsum")
