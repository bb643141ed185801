"""What a new target or recipe has to have; a failure says which line is missing."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from edgegen.core.model import Component, Generation
from edgegen.core.recipe import Rule
from edgegen.core.recipes import load_recipe, recipe_folder
from edgegen.core.shipped import shipped
from edgegen.core.target import ExceptedFamily
from edgegen.core.targets import load_target, load_targets, target_names
from edgegen.doctor.requirements import requirements
from edgegen.families import facts_of, held_families
from edgegen.models.read import component_keys, read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights
from tests.conftest import TinyPipeline
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


def layers_of(tiny_pipeline: TinyPipeline) -> dict[Component, set[str]]:
    """Return the layers of each component of a model with text, and of one without."""
    layers = {}
    for family in ("sdxl", "ddpm"):
        folder = tiny_pipeline(family)
        for component in read_pipeline(resolve(str(folder))).components:
            weights = Weights.open(folder / component.folder, component.variant)
            keys = component_keys(component, weights)
            layers[component] = {key.rpartition(".")[0] for key in keys}
    return layers


def matches(rule: Rule, layers: dict[Component, set[str]]) -> bool:
    return any(
        rule.speaks_of(component) and any(fnmatchcase(name, rule.layers) for name in names)
        for component, names in layers.items()
    )


@pytest.mark.parametrize(("target", "name"), RECIPES)
def test_each_rule_of_a_recipe_matches_a_layer(
    target: str, name: str, tiny_pipeline: TinyPipeline
) -> None:
    layers = layers_of(tiny_pipeline)
    for rule in load_recipe(name, TARGETS[target]).rules:
        assert matches(rule, layers), f"{rule} changes nothing"


@pytest.mark.parametrize(
    "rule", [Rule(component="uent"), Rule(role="decoder", layers="*attnetion*")]
)
def test_a_rule_with_a_slip_matches_no_layer(rule: Rule, tiny_pipeline: TinyPipeline) -> None:
    assert not matches(rule, layers_of(tiny_pipeline))


@pytest.mark.parametrize("target", ["onnx", "coreml"])
def test_arithmetic_of_the_autoencoder_stays_in_32_bits_where_the_rest_has_16(
    target: str, tiny_pipeline: TinyPipeline
) -> None:
    recipe = load_recipe("fp16", TARGETS[target])
    spec = read_pipeline(resolve(str(tiny_pipeline("sdxl"))))
    types = {component.name: recipe.of(component) for component in spec.components}
    assert types["unet"].compute_of("mid_block.attentions.0") == "float16"
    assert types["unet"].compute_of("time_proj") == "float32"
    assert types["text_encoder"].compute_of("encoder.layers.0.mlp") == "float16"
    for name in ("vae_decoder", "vae_encoder"):
        assert types[name].compute_of("decoder.up_blocks.1") == "float32"
        assert types[name].storage_of("decoder.up_blocks.1") == "float16"


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
