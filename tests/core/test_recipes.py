"""Recipes of the user's own, held against what a target can store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.model import Component, Role
from edgegen.core.recipe import ComponentRecipe, Recipe, Rule, Tolerance
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


def sensitive(**fields: Any) -> ComponentRecipe:
    made = replace(recipe(), storage="int4", sensitive_storage="int8", **fields)
    return made.of(replace(DENOISER, sensitive_layers=("conv_in", "time_embedding.*")))


def test_sensitive_layers_keep_more_bits() -> None:
    types = sensitive()
    assert types.storage_of("conv_in") == types.storage_of("time_embedding.linear_1") == "int8"
    assert types.storage_of("blocks.0.conv_in") == "int4"
    assert recipe().of(DENOISER).storage_of("conv_in") == "float16"


def test_a_components_activations_are_what_its_rules_leave_to_some_layer() -> None:
    floats = Rule(role="decoder", activations="float")
    some = Rule(layers="up_blocks.*", activations="int8")
    made = replace(recipe(some), activations="int16")
    assert made.of(DECODER).activation_types == {"int8", "int16"}
    made = replace(made, rules=(some, floats))
    assert made.of(DECODER).activation_types == {"float"}
    assert made.calibrated([DENOISER, DECODER]) == ("transformer",)
    made = replace(made, rules=(floats, some))
    assert made.of(DECODER).activation_types == {"int8", "float"}
    assert made.calibrated([DECODER]) == ("vae_decoder",)


def test_a_rule_wins_over_a_sensitive_layer_and_what_is_assigned_over_both() -> None:
    rules = (Rule(layers="conv_in", storage="float16"),)
    assert sensitive(rules=rules).storage_of("conv_in") == "float16"
    assigned = {"transformer": {"conv_in": "float32"}, "vae_decoder": {"conv_in": "int4"}}
    types = sensitive(rules=rules, assigned=assigned)
    assert types.storage_of("conv_in") == "float32"
    assert types.storage_of("time_embedding.linear_2") == "int8"


def test_every_storage_of_a_recipe_is_known() -> None:
    made = replace(
        recipe(Rule(storage="int8")), sensitive_storage="float32", assigned={"unet": {"a": "int4"}}
    )
    assert made.storages == {"float16", "int8", "float32", "int4"}


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('sensitive_storage = "int3"', "sensitive_storage"),
        ('assigned = { unet = { conv_in = "int3" } }', "assigned.unet.conv_in"),
    ],
)
def test_a_storage_that_the_target_lacks_is_refused_wherever_it_stands(
    tmp_path: Path, line: str, key: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE + line + "\n")
    with pytest.raises(ConfigError, match=f"{key} is 'int3', which the target 'onnx' cannot hold"):
        load_recipe(str(path), load_target("onnx"))


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
            "Did you mean 'float16'? Known: float16, float32, int4, int4-channel, int8.",
        ),
        (
            "coreml",
            RECIPE + '[[rules]]\nlayers = "mid*"\n[[rules]]\nstorage = "pallete4"\n',
            "rules[1].storage is 'pallete4', which the target 'coreml' cannot hold.",
            "Did you mean 'palette4'?",
        ),
        (
            "onnx",
            RECIPE.replace('"float16"', '"palette4"'),
            "storage is 'palette4', which the target 'onnx' cannot hold.",
            "Known: float16, float32, int4, int8.",
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
