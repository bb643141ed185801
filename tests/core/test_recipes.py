"""Recipes of the user's own, held against what a target can store."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.model import Component, Role
from edgegen.core.recipe import Recipe, Rule, Tolerance
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target

RECIPE = """
name = "mine"
description = ""
storage = "float16"
compute = "float32"
tolerance = { component_psnr_db = 60, trajectory_psnr_db = 50, image_psnr_db = 45 }
"""


def component(name: str, role: Role, *float32_layers: str) -> Component:
    return Component(
        name=name,
        role=role,
        folder=name,
        class_name="Any",
        inputs=(),
        outputs=(),
        parameters=0,
        float32_layers=float32_layers,
    )


def recipe(*rules: Rule) -> Recipe:
    return Recipe(
        name="mine",
        description="",
        storage="float16",
        compute="float16",
        tolerance=Tolerance(component_psnr_db=60, trajectory_psnr_db=50, image_psnr_db=45),
        rules=rules,
    )


DENOISER = component("transformer", "denoiser", "*time_proj")
DECODER = component("vae_decoder", "decoder", "*")


def test_layers_that_a_network_declares_compute_in_32_bits_and_are_stored_as_all_others() -> None:
    assert recipe().of(DENOISER).compute_of("time_proj") == "float32"
    assert recipe().of(DENOISER).compute_of("blocks.0.attn1") == "float16"
    assert recipe().of(DECODER).compute_of("decoder.up_blocks.3") == "float32"
    assert recipe().of(DECODER).storage_of("decoder.up_blocks.3") == "float16"


def test_a_rule_wins_over_what_a_network_declares() -> None:
    types = recipe(Rule(role="decoder", layers="decoder.*", compute="float16")).of(DECODER)
    assert types.compute_of("decoder.up_blocks.3") == "float16"
    assert types.compute_of("post_quant_conv") == "float32"


@pytest.mark.parametrize(
    ("rule", "stores"),
    [
        (Rule(role="denoiser", storage="float32"), ("float32", "float16")),
        (Rule(component="vae_*", storage="float32"), ("float16", "float32")),
        (Rule(role="denoiser", component="vae_*", storage="float32"), ("float16", "float16")),
        (Rule(storage="float32"), ("float32", "float32")),
    ],
)
def test_a_rule_speaks_of_a_role_a_name_or_both(rule: Rule, stores: tuple[str, str]) -> None:
    types = (recipe(rule).of(each) for each in (DENOISER, DECODER))
    assert tuple(each.storage_of("x") for each in types) == stores


def test_later_rules_win() -> None:
    rules = (Rule(storage="float32"), Rule(layers="mid.*", storage="float16"))
    assert recipe(*rules).of(DENOISER).storage_of("mid.1") == "float16"
    assert recipe(*reversed(rules)).of(DENOISER).storage_of("mid.1") == "float32"


def test_a_role_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE + '[[rules]]\nrole = "denoisr"\nstorage = "float32"\n')
    with pytest.raises(ConfigError, match="denoisr") as raised:
        load_recipe(str(path), load_target("onnx"))
    assert "denoiser" in raised.value.hint


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
    assert load_recipe(str(path), load_target("onnx")).of(DECODER).storage_of("x") == "float16"
