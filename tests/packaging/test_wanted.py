"""Which packages `--target`, `--recipe` and `--profile` ask for."""

from __future__ import annotations

import pytest

from edgegen.cli.main import run
from edgegen.core.errors import ConfigError
from edgegen.devices.profiles import load_profile
from edgegen.packaging.wanted import Wanted, wanted_packages


@pytest.mark.parametrize(
    ("targets", "recipes", "wanted"),
    [
        (["onnx"], [], [("onnx", None)]),
        (["onnx", "tflite"], ["fp32"], [("onnx", "fp32"), ("tflite", "fp32")]),
        (["onnx:fp16", "onnx:fp32"], [], [("onnx", "fp16"), ("onnx", "fp32")]),
        (["onnx:fp16", "onnx:fp16"], [], [("onnx", "fp16")]),
        (
            ["onnx", "tflite:int8-dynamic"],
            ["fp32", "fp16"],
            [("onnx", "fp32"), ("onnx", "fp16"), ("tflite", "int8-dynamic")],
        ),
        (["onnx:./mine.toml"], [], [("onnx", "./mine.toml")]),
    ],
    ids=str,
)
def test_targets_with_and_without_a_recipe(
    targets: list[str], recipes: list[str], wanted: list[tuple[str, str | None]]
) -> None:
    assert wanted_packages(targets, recipes, None) == tuple(Wanted(*pair) for pair in wanted)


def test_a_profile_alone_asks_for_the_targets_of_its_runtimes() -> None:
    found = wanted_packages([], [], load_profile("pixel-8"))
    assert found == (Wanted("onnx", None), Wanted("tflite", None))


@pytest.mark.parametrize(
    ("targets", "recipes", "says"),
    [([], [], "neither a target nor a device"), (["onnx:fp16"], ["fp32"], "has no target")],
)
def test_what_asks_for_nothing_is_refused(
    targets: list[str], recipes: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        wanted_packages(targets, recipes, None)


def test_the_command_line_plans_pairs_and_a_profile_s_targets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["package", "builtin:emoji", "-p", "pixel-8", "--dry-run"]) == 0
    assert "ONNX (fp16-storage)" in (page := capsys.readouterr().out)
    assert "(int8-dynamic)" in page
    assert run(["package", "builtin:emoji", "-t", "openvino:int8", "--dry-run"]) == 0
    assert "(int8)" in capsys.readouterr().out
    assert run(["package", "builtin:emoji", "--dry-run"]) == 2
    assert "--profile" in capsys.readouterr().err
