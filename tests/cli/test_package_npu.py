"""`edgegen package` for an NPU: what is wrong with a command line is said before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.chips import load_chip
from edgegen.core.profile import CompilerEffort, RuntimeOptions
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters.base import resolve_options
from edgegen.exporters.onnx.options import CONTEXT_BYTES, OnnxOptions
from edgegen.packaging.candidate import Npu, runtime_of

ONNX = load_target("onnx")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--chip", "snapdragon-9"], "There is no chip 'snapdragon-9'"),
        (["--chip", "qcs6490"], "computes integers only"),
        (["--chip", "SM8650", "--chip", "qcs6490"], "computes integers only"),
        (["-t", "tflite", "--chip", "SM8650"], "not those of the target 'tflite'"),
        (["-p", "pixel-8", "--npu"], "'pixel-8' names none"),
        (["--npu"], "there is no profile"),
        (["-t", "onnx", "--part-size", "500MB"], "cuts no graph into parts"),
        (["--allow-processor"], "--allow-processor is for packages"),
        (["--compiler-effort", "1"], "--compiler-effort is for packages"),
        (["--chip", "SM8650", "--context-size", "five"], "--part-size is 'five', not a number"),
        (["--chip", "SM8650", "--context-size", "500"], "without a unit"),
        (["--chip", "SM8650", "--context-size", "0MB"], "a part has weights"),
        (["--chip", "SM8650", "--lora-as-input"], "takes no LoRA at run time"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else "",
)
def test_what_cannot_be_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["package", "builtin:scenes-4step-tiny", "-o", str(tmp_path / "made"), "--dry-run"]
    assert run([*command, *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("given", [None, 500_000_000])
def test_a_contexts_size_is_an_option_of_the_exporter(given: int | None) -> None:
    runtime = runtime_of(None, ONNX, Npu(chips=("SM8650",)))
    runtime = replace(runtime, file_limit_bytes=given)
    assert isinstance(runtime, RuntimeOptions)
    options = resolve_options(ONNX, load_recipe("fp16", ONNX), runtime, None)
    assert isinstance(options, OnnxOptions)
    assert options.chips == (load_chip("SM8650"),)
    assert options.context_bytes == (given or CONTEXT_BYTES)


@pytest.mark.parametrize("effort", [1, 3])
def test_the_compilers_effort_is_an_option_of_the_exporter(effort: CompilerEffort) -> None:
    runtime = runtime_of(None, ONNX, Npu(chips=("SM8650",), effort=effort))
    options = resolve_options(ONNX, load_recipe("fp16", ONNX), runtime, None)
    assert isinstance(options, OnnxOptions)
    assert options.effort == effort
