"""Several packages of one model: one picture of what torch and each of them draw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.package import GoldenCase
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.parity.side_by_side import plan_drawing
from edgegen.runner.png import read_pixels
from tests.conftest import TinyPipeline


def plan_of(model: str, prompt: str | None = None) -> GoldenCase:
    folder = resolve(model)
    return plan_drawing(read_pipeline(folder), folder.path, prompt=prompt)


def test_a_small_model_is_drawn_at_its_own_size_with_all_its_steps() -> None:
    case = plan_of("builtin:emoji")
    assert (case.width, case.height, case.steps) == (64, 64, 25)
    assert (case.prompt, case.negative_prompt) == ("panda", None)


def test_the_users_prompt_is_drawn() -> None:
    assert plan_of("builtin:emoji", "pizza").prompt == "pizza"


def test_a_model_without_text_is_drawn_without_a_prompt(tiny_pipeline: TinyPipeline) -> None:
    assert plan_of(str(tiny_pipeline("ddpm")), "pizza").prompt is None


@pytest.mark.parametrize(
    "options",
    [["-t", "onnx"], ["-t", "onnx", "-t", "onnx"], ["-t", "onnx", "-t", "tflite", "--no-picture"]],
)
def test_a_prompt_for_a_picture_that_is_not_drawn_is_refused(
    options: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["package", "builtin:emoji", *options, "--prompt", "pizza"]) == 2
    assert "more than one --target" in capfd.readouterr().err


def test_packages_without_a_place_are_named_after_their_model(
    tiny_pipeline: TinyPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_pipeline("ddpm")
    assert resolve("builtin:emoji").name == "emoji"
    assert resolve(str(folder)).name == folder.name
    monkeypatch.chdir(folder)
    assert resolve(".").name == folder.name
    assert ModelFolder(path=folder, source="org/model@main").name == "model"


@pytest.mark.slow
def test_several_packages_have_no_picture_where_none_is_wanted(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    command = ["package", str(tiny_pipeline("ddpm")), "-o", str(tmp_path / "out")]
    command += ["--no-picture", "--skip-parity"]
    assert run([*command, "-t", "onnx:fp32", "-t", "openvino:fp32"]) == 0
    assert sorted(it.name for it in (tmp_path / "out").iterdir()) == ["onnx-fp32", "openvino-fp32"]


@pytest.mark.slow
def test_two_targets_leave_one_picture_beside_their_packages(
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_pipeline("ddpm")
    assert run(["package", str(folder), "-t", "onnx", "-t", "openvino", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["packages"]
    place = tmp_path / folder.name
    assert {path.name for path in place.iterdir()} == {
        "onnx-fp16-storage",
        "openvino-fp16-storage",
        "compare.png",
    }
    height, width, _ = read_pixels(place / "compare.png").shape
    assert width > height  # torch and both packages stand in one row
    for row in rows:
        assert row["picture_is_equal"] or row["picture_psnr_db"] > 40
        assert Path(row["picture"]) == place.relative_to(tmp_path) / "compare.png"
