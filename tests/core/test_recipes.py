"""Recipes of the user's own, held against what a target can store."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target

RECIPE = """
name = "mine"
description = ""
storage = "float16"
compute = "float32"
tolerance = { component_psnr_db = 60, trajectory_psnr_db = 50, image_psnr_db = 45 }
"""


@pytest.mark.parametrize(
    ("target", "text", "says", "hint"),
    [
        (
            "tflite",
            RECIPE.replace('"float16"', '"fp16"'),
            "storage is 'fp16', which the target 'tflite' cannot hold.",
            "Did you mean 'float16'? Known: float16, float32, int8.",
        ),
        (
            "coreml",
            RECIPE + '[[rules]]\nlayers = "mid*"\n[[rules]]\nstorage = "pallete4"\n',
            "rules[1].storage is 'pallete4', which the target 'coreml' cannot hold.",
            "Did you mean 'palette4'?",
        ),
        (
            "onnx",
            RECIPE.replace('"float16"', '"int4"'),
            "storage is 'int4', which the target 'onnx' cannot hold.",
            "Known: float16, float32.",
        ),
    ],
)
def test_storage_that_a_target_cannot_hold_is_refused_with_the_nearest(
    target: str, text: str, says: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_recipe(str(path), load_target(target))
    assert str(raised.value) == f"{path}: {says}"
    assert hint in raised.value.hint


def test_a_long_text_in_the_place_of_a_storage_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace('"float16"', f'"{"x" * 900}"'))
    with pytest.raises(ConfigError) as raised:
        load_recipe(str(path), load_target("onnx"))
    assert len(str(raised.value)) < 200 + len(str(path))


def test_a_rule_without_storage_takes_the_recipes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE + '[[rules]]\ncomponent = "vae_*"\ncompute = "float32"\n')
    assert load_recipe(str(path), load_target("onnx")).storage_of("vae_decoder", "x") == "float16"
