"""Names that are not known, and recipes that say something impossible."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.core.shipped import shipped
from tests.conftest import TinyPipeline
from tests.faults.command import contents
from tests.faults.conftest import Edgegen
from tests.tiny_packages import onnx_package

RECIPE = """\
name = "mine"
description = "A recipe of my own."
storage = "float16"
compute = "float32"

[tolerance]
component_psnr_db = 60.0
trajectory_psnr_db = 50.0
image_psnr_db = 45.0
"""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-t", "onx"], "Did you mean 'onnx'?"),
        (["-t", "onnx", "-r", "fp16-storag"], "Did you mean 'fp16-storage'?"),
        (["-t", "onnx", "-p", "raspbery-pi-5"], "Did you mean 'raspberry-pi-5'?"),
        (["-t", "onnx", "-r", "gone.toml"], "gone.toml does not exist"),
        (["-t", "onnx", "-p", "gone.toml"], "gone.toml does not exist"),
    ],
)
def test_unknown_name_ends_with_the_nearest_one(
    options: list[str],
    says: str,
    tiny_pipeline: TinyPipeline,
    place: Path,
    edgegen: Edgegen,
) -> None:
    outcome = edgegen("package", tiny_pipeline("ddpm"), *options, "-o", place / "out")
    outcome.assert_failed(2, says)
    assert contents(place) == {}


def test_profile_without_a_runtime_for_the_target_is_refused(
    tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    profile = place.parent / "pi.toml"
    text = (shipped("profiles") / "raspberry-pi-5.toml").read_text()
    profile.write_text(text.replace('target = "onnx"', 'target = "tflite"'))
    arguments = ["-t", "onnx", "-p", profile, "-o", place / "out"]
    outcome = edgegen("package", tiny_pipeline("ddpm"), *arguments)
    outcome.assert_failed(2, "no runtime for the target 'onnx'")
    assert contents(place) == {}


@pytest.mark.parametrize("command", ["run", "bench"])
def test_unknown_scheduler_ends_with_the_nearest_one(
    command: str, place: Path, edgegen: Edgegen
) -> None:
    package = onnx_package(place / "package")
    before = contents(place)
    output = {"run": "-o", "bench": "--json-file"}[command]
    arguments = ["--prompt", "x", "--scheduler", "eulr", output, place / "written.png"]
    edgegen(command, package, *arguments).assert_failed(2, "Did you mean 'euler'?")
    assert contents(place) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (RECIPE.replace("storage", "storge"), "Did you mean 'storage'?"),
        (RECIPE.replace('"float16"', '"float8"'), "storage is 'float8'"),
        (RECIPE + '[[rules]]\ncomponent = "unet"\nlayer = "*"\n', "Did you mean 'layers'?"),
        (RECIPE.replace("60.0", '"60"'), "component_psnr_db"),
        (RECIPE.replace("compute", "#"), "'compute' is missing"),
        ("name = ", "is not TOML"),
    ],
)
def test_recipe_that_says_something_else_is_refused(
    text: str, says: str, tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    recipe = place.parent / "mine.toml"
    recipe.write_text(text)
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-r", recipe, "-o", place / "out"]
    edgegen(*arguments).assert_failed(2, says, str(recipe))
    assert contents(place) == {}


def test_rule_for_what_a_model_lacks_is_no_error(
    tiny_pipeline: TinyPipeline, place: Path, edgegen: Edgegen
) -> None:
    recipe = place.parent / "mine.toml"
    recipe.write_text(RECIPE + '[[rules]]\ncomponent = "vae_*"\nstorage = "float32"\n')
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-r", recipe, "-o", place / "out"]
    assert edgegen(*arguments, "--dry-run").code == 0
    assert contents(place) == {}


LATIN_1 = os.fsdecode(b"caf\xe9")


def test_package_in_a_folder_whose_name_is_not_utf_8_is_run(place: Path, edgegen: Edgegen) -> None:
    package = onnx_package(place / LATIN_1 / "package")
    image = place / f"{LATIN_1}.png"
    outcome = edgegen("run", package, "--prompt", "x", "--steps", "2", "-o", image)
    assert outcome.code == 0, outcome.errors
    assert image.is_file()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["onnx", "openvino", "coreml", "tflite"])
def test_model_and_package_may_have_any_names(
    target: str, copy_of: Callable[[str], Path], place: Path, edgegen: Edgegen
) -> None:
    model = copy_of("sd15").rename(place / LATIN_1)
    out = place / f"{LATIN_1}-{target}"
    outcome = edgegen("package", model, "-t", target, "-o", out)
    assert outcome.code == 0, outcome.errors
    assert edgegen("verify", out).code == 0
