"""`edgegen evaluate` with a real package of a tiny model, torch and the runner."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.cli.evaluate import _folders
from edgegen.cli.main import run
from edgegen.core.codec import load_json
from edgegen.core.errors import SourceError
from edgegen.core.evaluation import Evaluation
from edgegen.core.kept_pictures import KeptPictures
from edgegen.core.manifest import load_manifest
from edgegen.core.progress import SilentProgress
from edgegen.evaluate.package_side import Computed, computed_by
from edgegen.evaluate.run import REFERENCE, evaluate_model, evaluate_package
from edgegen.evaluate.settings import EvaluateSettings
from edgegen.history.record import Query
from edgegen.history.store import History
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.runner.arithmetic import ArithmeticChoice, Trial
from edgegen.runner.png import read_pixels
from tests.conftest import TinyPipeline

FEW = EvaluateSettings(pictures=3, steps=2, reference_steps=2)


@pytest.fixture(scope="module")
def evaluated(package: Path, model: ModelFolder) -> Evaluation:
    return evaluate_package(package, model=model, settings=FEW)


def test_a_package_in_float32_draws_what_torch_draws(evaluated: Evaluation) -> None:
    assert [suite.suite for suite in evaluated.suites] == ["known", "stress"]
    for suite in evaluated.suites:
        assert suite.pictures == 3
        assert suite.metrics["psnr"].worst > 60
        assert suite.metrics["ssim"].worst > 0.999
        assert suite.metrics["flip"].worst < 0.001
    assert evaluated.steps == evaluated.reference_steps == 2


def test_latents_are_compared_after_every_step(evaluated: Evaluation) -> None:
    for picture in evaluated.pictures:
        assert len(picture.steps_psnr_db) == 3  # PNDM calls the denoiser twice in its first step
        assert all(ratio is None or ratio > 80 for ratio in picture.steps_psnr_db)


@pytest.mark.slow
def test_fewer_steps_than_the_reference_are_compared_without_latents(
    package: Path, model: ModelFolder
) -> None:
    settings = EvaluateSettings(suites=("known",), pictures=2, steps=1, reference_steps=2)
    found = evaluate_package(package, model=model, settings=settings)
    assert (found.steps, found.reference_steps) == (1, 2)
    assert all(picture.steps_psnr_db == () for picture in found.pictures)
    torch = evaluate_model(model, settings=settings)
    assert torch.target == "torch"
    # what the package loses is what torch loses in one step
    assert found.suites[0].metrics["psnr"].mean == pytest.approx(
        torch.suites[0].metrics["psnr"].mean, abs=0.05
    )


def test_the_command_writes_evaluation_pictures_and_the_worst(
    package: Path,
    model: ModelFolder,
    evaluated: Evaluation,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    words = ["--model", model.source, "--steps", "2", "--reference-steps", "2", "--pictures", "3"]
    assert run(["evaluate", str(package), *words, "-o", str(output), "--json"]) == 0
    written: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert written["broken"] == [[]]
    assert len(written["evaluations"][0]["pictures"]) == 6
    again = load_json(Evaluation, output / "evaluation.json")
    assert again.pictures == evaluated.pictures
    kept = load_json(KeptPictures, output / "pictures" / "pictures.json")
    assert [it.package for it in kept.pictures[:2]] == [
        "0-known-0-package.png",
        "1-known-1-package.png",
    ]
    for each in kept.pictures:
        for name in (each.reference, each.package):
            assert read_pixels(output / "pictures" / name).shape == (32, 32, 3)
    assert read_pixels(output / "worst.png").shape[2] == 3
    with History.open() as history:
        (record,) = history.find_evaluations(Query(manifest_sha256=again.manifest_sha256))
        assert history.evaluation(record) == again


def test_packages_of_the_same_name_have_folders_of_their_own(tmp_path: Path) -> None:
    packages = [tmp_path / "scenes" / "onnx-fp16", tmp_path / "emoji" / "onnx-fp16"]
    output = tmp_path / "out"
    assert _folders(packages, output) == [output / "onnx-fp16", output / "onnx-fp16-2"]
    assert _folders(packages[:1], output) == [output]


def test_a_limit_that_is_not_met_ends_with_code_4_and_names_prompts(
    package: Path, model: ModelFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", model.source, "--suite", "known", "--pictures", "2"]
    words += ["--steps", "1", "--reference-steps", "2", "--min-psnr", "99dB"]
    assert run(["evaluate", str(package), *words, "--min-right", "0.5"]) == 2
    assert "--min-right" in capfd.readouterr().err
    assert run(["evaluate", str(package), *words]) == 4
    said = capfd.readouterr()
    assert "99.0 dB" in said.err
    assert "golden retriever" in said.err
    assert "PSNR (dB)" in said.out


def test_a_type_that_the_runtime_lacks_is_refused_before_torch_draws(
    package: Path,
    model: ModelFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("edgegen.evaluate.run._references", None)
    words = ["--model", model.source, "--suite", "known", "--pictures", "1", "--steps", "1"]
    assert run(["evaluate", str(package), *words, "--arithmetic", "float16"]) == 2
    assert "onnxruntime cannot compute in float16 here" in capfd.readouterr().err


def test_the_fastest_type_is_looked_for_where_that_is_asked(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fastest(*arguments: object, **_: object) -> ArithmeticChoice:
        asked.extend(arguments)
        trials = (Trial(arithmetic="bfloat16", compute_s=0.5),)
        return ArithmeticChoice(arithmetic="bfloat16", trials=trials)

    monkeypatch.setattr("edgegen.evaluate.package_side.fastest_arithmetic", fastest)
    found = computed_by(package, load_manifest(package), None, "auto", SilentProgress())
    assert found.arithmetic == "bfloat16"
    assert found.why == "bfloat16, by the golden case: bfloat16 500 ms."
    assert asked[0] == str(package.absolute())
    plain = computed_by(package, load_manifest(package), None, None, SilentProgress())
    assert plain == Computed(runtime="onnxruntime, local", arithmetic=None)


@pytest.mark.slow
def test_what_bfloat16_costs_is_found_and_kept_apart(
    model: ModelFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "openvino"
    build(plan(model, target="openvino", recipe="fp32", destination=built))
    words = ["--model", model.source, "--steps", "2", "--reference-steps", "2", "--pictures", "2"]
    output = tmp_path / "out"
    code = run(["evaluate", str(built), *words, "--arithmetic", "bfloat16", "-o", str(output)])
    said = capfd.readouterr()
    if "this processor has no instructions" in said.err:
        pytest.skip("This processor has no instructions for bfloat16.")
    assert code == 4  # the recipe promises what float32 keeps
    assert "It was computed in bfloat16" in said.err
    assert "openvino fp32: computed in bfloat16." in said.out
    rounded = load_json(Evaluation, output / "evaluation.json")
    exact = evaluate_package(built, model=model, settings=replace(FEW, arithmetic="float32"))
    assert (rounded.arithmetic, exact.arithmetic) == ("bfloat16", None)
    assert 20 < rounded.suites[0].metrics["psnr"].mean < 60 < exact.suites[0].metrics["psnr"].mean
    with History.open() as history:
        (kept,) = history.find_evaluations(Query(arithmetic="bfloat16"))
        assert kept.arithmetic == "bfloat16"


def test_weights_of_another_revision_are_refused(
    package: Path, tiny_pipeline: TinyPipeline
) -> None:
    other = resolve(str(tiny_pipeline("sd15", seed=1)))
    with pytest.raises(SourceError, match="does not hold the weights"):
        evaluate_package(package, model=other, settings=FEW)


@pytest.mark.slow
def test_a_pruned_model_is_compared_with_its_original(
    model: ModelFolder, package: Path, tiny_pipeline: TinyPipeline
) -> None:
    settings = EvaluateSettings(suites=("known",), pictures=1, steps=2, reference_steps=2)
    other = resolve(str(tiny_pipeline("sd15", seed=1)))
    own = evaluate_package(package, model=model, settings=settings)
    found = evaluate_package(package, model=model, settings=settings, against=other)
    assert found.weights_sha256 == own.weights_sha256
    assert (own.reference, found.reference) == (REFERENCE, f"{REFERENCE}: {other.source}")
    near, far = (each.pictures[0].scores["psnr"] for each in (own, found))
    assert far is not None
    assert far < 40
    assert near is None or near > 60
    with pytest.raises(SourceError, match="of the family unconditional"):
        evaluate_package(
            package,
            model=model,
            settings=settings,
            against=resolve(str(tiny_pipeline("ddpm"))),
        )
