"""Candidates and predictions: values that are made of what was read of a model once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Any

import pytest

from edgegen.core.codec import encode
from edgegen.core.errors import ConfigError
from edgegen.core.profile import RuntimeOptions
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target, target_names
from edgegen.devices.profiles import load_profile
from edgegen.exporters.base import EXPORTERS, TargetCode
from edgegen.exporters.options import TargetOptions
from edgegen.models.source import resolve
from edgegen.packaging.candidate import Candidate, make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts, read_facts
from tests.conftest import TinyPipeline


@pytest.fixture(scope="module")
def facts(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    """Return what was read of a model whose folder is gone."""
    folder = tmp_path_factory.mktemp("gone") / "model"
    shutil.copytree(tiny_pipeline("sd15"), folder)
    read = read_facts(resolve(str(folder)))
    shutil.rmtree(folder)
    return read


def candidate(facts: ModelFacts, target: str, recipe: str | None = None, **size: int) -> Candidate:
    spec = load_target(target)
    return make_candidate(facts, spec, load_recipe(recipe, spec), **size)


@pytest.mark.parametrize("target", target_names())
def test_candidates_of_all_recipes_and_sizes_are_predicted_without_the_model(
    facts: ModelFacts, target: str
) -> None:
    for recipe in load_target(target).recipes:
        for side in (32, 64):
            it = candidate(facts, target, recipe, width=side, height=side)

            predicted = predict(it, facts)

            assert (it.spec.generation.width, it.recipe.name) == (side, recipe)
            assert set(predicted.component_bytes) == {each.name for each in it.components}
            assert predicted.package_bytes > sum(predicted.component_bytes.values()) > 0


def test_a_coarser_recipe_is_predicted_to_be_smaller(facts: ModelFacts) -> None:
    sizes = [
        predict(candidate(facts, "coreml", recipe), facts).package_bytes
        for recipe in ("fp32", "fp16", "int8", "palette4")
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_a_target_with_fixed_shapes_has_the_size_in_its_components(facts: ModelFacts) -> None:
    fixed, dynamic = (candidate(facts, it, width=64, height=32) for it in ("tflite", "onnx"))
    (unet,) = (each for each in fixed.components if each.role == "denoiser")
    scale = facts.spec.generation.vae_scale_factor
    assert unet.inputs[0].shape[2:] == (32 // scale, 64 // scale)
    assert any(
        isinstance(axis, str) for each in dynamic.components for axis in each.inputs[0].shape
    )


def test_what_a_target_or_a_profile_cannot_hold_is_refused(facts: ModelFacts) -> None:
    target, profile = load_target("coreml"), load_profile("pixel-8")
    recipe = load_recipe(None, target)
    with pytest.raises(ConfigError, match="has no runtime for the target 'coreml'"):
        make_candidate(facts, target, recipe, profile=profile)
    with pytest.raises(ConfigError, match="too large"):
        candidate(facts, "onnx", width=1 << 20, height=64)


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        (
            "coreml",
            {"activations": "int8"},
            "asks for activations = \"int8\", which the target 'coreml'",
        ),
        (
            "onnx",
            {"palette_channels": 16},
            "palettes of groups of channels, which the target 'onnx'",
        ),
    ],
)
def test_a_recipe_that_asks_for_what_the_format_lacks_is_refused(
    facts: ModelFacts, name: str, changes: dict[str, Any], why: str
) -> None:
    target = load_target(name)
    with pytest.raises(ConfigError, match=why):
        make_candidate(facts, target, replace(load_recipe("fp32", target), **changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOptions(TargetOptions):
    streams: int


def resolve_new(_: object, __: object, runtime: RuntimeOptions, ___: object) -> NewOptions:
    return NewOptions(streams=runtime.threads or 1)


def test_a_new_target_has_options_that_only_it_knows(
    facts: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = TargetCode(exporter="", options=f"{__name__}:{resolve_new.__name__}")
    monkeypatch.setattr("edgegen.exporters.base.EXPORTERS", {**EXPORTERS, "new": code})
    onnx, profile = load_target("onnx"), load_profile("pixel-8")
    runtimes = (RuntimeOptions(target="new", package="new", recipe="fp32", threads=3),)

    made = make_candidate(
        facts,
        replace(onnx, name="new"),
        load_recipe(None, onnx),
        profile=replace(profile, runtimes=runtimes),
    )

    assert encode(made.options) == {"streams": 3}
