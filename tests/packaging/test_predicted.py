"""`--dry-run` predicts what a package will take, within 2 %, and what several take together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run as run_edgegen
from edgegen.core.targets import load_target, load_targets
from edgegen.core.units import format_bytes
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import BuildPlan, plan
from tests.conftest import TinyPipeline

TARGETS = load_targets()
CASES = [
    (family, target, recipe)
    for family in ("taesd", "sdxl")
    for target in TARGETS
    for recipe in TARGETS[target].recipes
    if "static" not in recipe  # calibration takes minutes, and the sizes are those of int8-dynamic
]


def test_a_package_with_its_golden_case_is_as_large_as_its_plan_says(
    tiny_pipeline: TinyPipeline, tiny_onnx_package: Path, tmp_path: Path
) -> None:
    source = resolve(str(tiny_pipeline("sd15")))
    planned = plan(source, target="onnx", destination=tmp_path / "out", recipe="fp32")
    assert_as_predicted(planned, tiny_onnx_package, with_golden=True)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "target", "recipe"), CASES)
def test_a_package_is_as_large_as_its_plan_says(
    family: str, target: str, recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = resolve(str(tiny_pipeline(family)))
    planned = plan(source, target=target, destination=tmp_path / "out", recipe=recipe)
    with_parity = (target, recipe) == ("onnx", "fp32")
    built = build(planned, parity=with_parity)
    assert_as_predicted(planned, built.path, with_golden=with_parity)


def assert_as_predicted(planned: BuildPlan, package: Path, *, with_golden: bool) -> None:
    files = [path for path in package.rglob("*") if path.is_file()]
    actual = sum(path.stat().st_size for path in files)
    expected = planned.prediction.package_bytes - (
        0 if with_golden else planned.prediction.golden_bytes
    )
    # these models have a thousandth of a real one's weights: what is not weights counts ten-fold
    assert expected == pytest.approx(actual, rel=0.02 if with_golden else 0.05)
    if with_golden:
        golden = sum(path.stat().st_size for path in files if path.parent.name == "golden")
        assert planned.prediction.golden_bytes == pytest.approx(golden, rel=0.03)


def test_a_dry_run_adds_up_what_it_would_build(
    tiny_pipeline: TinyPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny_pipeline("sd15"))
    arguments = ["package", model, "-t", "onnx", "-t", "tflite", "-o", str(tmp_path / "out")]
    assert run_edgegen([*arguments, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["predicted_bytes"] == sum(it["predicted_bytes"] for it in found["plans"])
    for each in found["plans"]:
        parts = sum(it["predicted_bytes"] for it in each["components"].values())
        parts += each["small_files_bytes"] + each["golden_bytes"]
        assert each["predicted_bytes"] == parts
    assert run_edgegen([*arguments, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "golden case" in shown
    assert format_bytes(found["predicted_bytes"]) in shown
    assert not (tmp_path / "out").exists()


def test_only_matrices_of_whole_blocks_are_held_in_blocks() -> None:
    sizes = load_target("onnx").sizes
    assert sizes.held_as("int4", (8, 64), 32) == "int4"
    assert sizes.held_as("int4", (8, 72), 32) == "int8"
    assert sizes.held_as("int4", (8, 64, 3, 3), 32) == "int8"
    assert sizes.held_as("float16", (8, 64, 3, 3), 32) == "float16"
