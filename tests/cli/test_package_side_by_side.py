"""Several packages of one model: one picture of what torch and each of them draw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.package import GoldenCase
from edgegen.pipelines.read import read_pipeline
from edgegen.pipelines.source import resolve
from edgegen.quality.png import read_pixels
from edgegen.quality.side_by_side import plan_drawing
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


def test_two_targets_leave_one_picture_beside_their_packages(
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_pipeline("ddpm")
    assert run(["package", str(folder), "-t", "onnx", "-t", "openvino", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)
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
