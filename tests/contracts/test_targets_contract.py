"""What a new target or recipe has to have; a failure says which line is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.codec import load_toml
from edgegen.core.model import Generation
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe, recipe_folder
from edgegen.core.shipped import shipped
from edgegen.core.target import ExceptedFamily
from edgegen.core.targets import load_target, load_targets, target_names
from edgegen.doctor.requirements import requirements
from edgegen.families import facts_of, held_families
from tests.contracts.source_tree import HOST

TARGETS = load_targets()
RECIPES = [(target, recipe) for target in TARGETS for recipe in TARGETS[target].recipes]


def test_there_is_a_target() -> None:
    assert "onnx" in TARGETS


def test_folders_table_and_host_code_name_the_same_targets() -> None:
    from edgegen.exporters.base import EXPORTERS

    folders = {path.name for path in shipped("targets").iterdir() if path.is_dir()}
    code = {path.parent.name for path in HOST.glob("exporters/*/exporter.py")}
    assert set(target_names()) == folders == set(EXPORTERS) == code


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_is_called_after_its_folder(name: str) -> None:
    assert load_target(name).name == name


@pytest.mark.parametrize("name", TARGETS)
def test_every_recipe_file_of_a_target_is_in_its_table(name: str) -> None:
    files = {path.stem for path in recipe_folder(TARGETS[name]).glob("*.toml")}
    assert files == set(TARGETS[name].recipes)


@pytest.mark.parametrize(("target", "name"), RECIPES)
def test_a_recipe_loads_under_its_own_name(target: str, name: str) -> None:
    assert load_recipe(name, TARGETS[target]).name == name


@pytest.mark.parametrize(("target", "name"), RECIPES)
def test_a_recipe_accepts_less_the_more_a_layer_adds_up(target: str, name: str) -> None:
    tolerance = load_recipe(name, TARGETS[target]).tolerance
    assert tolerance.component_psnr_db >= tolerance.trajectory_psnr_db >= tolerance.image_psnr_db


@pytest.mark.parametrize(("target", "name"), RECIPES)
def test_the_rules_of_a_recipe_match_components_that_exist(target: str, name: str) -> None:
    known = ("text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder")
    recipe = load_recipe(name, TARGETS[target])
    for rule in recipe.rules:
        alone = load_toml(Recipe, recipe_folder(TARGETS[target]) / f"{name}.toml")
        changed = [
            component
            for component in known
            if (alone.storage_of(component, "x"), alone.compute_of(component, "x"))
            != (alone.storage, alone.compute)
        ]
        assert changed or rule.layers != "*", f"{rule} changes nothing"


def test_arithmetic_of_the_autoencoder_stays_in_32_bits_where_the_rest_has_16() -> None:
    recipe = load_recipe("fp16", TARGETS["onnx"])
    assert recipe.compute_of("unet", "mid_block.attentions.0") == "float16"
    assert recipe.compute_of("vae_decoder", "decoder.up_blocks.3") == "float32"
    assert recipe.storage_of("vae_decoder", "decoder.up_blocks.3") == "float16"


@pytest.mark.parametrize("name", TARGETS)
def test_the_extra_of_a_target_needs_something(name: str) -> None:
    assert requirements(TARGETS[name].extra)


@pytest.mark.parametrize("name", TARGETS)
def test_a_cell_that_says_cannot_says_why(name: str) -> None:
    for cell in TARGETS[name].compatibility:
        assert cell.why or cell.result != "cannot", cell
        assert cell.family in held_families(TARGETS[name]), cell


@pytest.mark.parametrize("name", TARGETS)
def test_a_family_that_a_target_lacks_is_one_and_has_a_reason(name: str) -> None:
    for it in TARGETS[name].excepted:
        assert facts_of(it.family, Generation(width=8, height=8, latent_channels=4)), it
        assert it.why.strip(" ."), it


def test_a_target_holds_every_family_but_those_that_it_excepts() -> None:
    why = "its runtime has no loop"
    target = replace(TARGETS["onnx"], excepted=(ExceptedFamily(family="unconditional", why=why),))
    assert target.lacks("unconditional") == why
    assert target.lacks("stable-diffusion") is None
    assert {*held_families(TARGETS["onnx"])} - {*held_families(target)} == {"unconditional"}
