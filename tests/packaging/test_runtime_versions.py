"""A recipe that a profile's version of its runtime cannot execute is refused before a build."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe, Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.target import RuntimeSince, TargetSpec
from edgegen.core.targets import load_target, load_targets
from edgegen.devices.profiles import load_profile
from edgegen.packaging.runtime_versions import refuse_older, version_numbers

TARGET = replace(
    load_target("tflite"),
    runtime_since=(
        RuntimeSince(runtime="ai_edge_litert", version="2.1", why="kernels", storage="int8"),
        RuntimeSince(
            runtime="ai_edge_litert",
            version="2.10.0",
            why="hybrid kernels",
            storage="int8",
            activations="dynamic-int8",
        ),
        RuntimeSince(runtime="tflite_runtime", version="9", why="never", storage="int8"),
    ),
)
PHONE = load_profile("pixel-8")


def refuse(recipe: Recipe, version: str | None, target: TargetSpec = TARGET) -> None:
    runtime = PHONE.runtime("tflite")
    assert isinstance(runtime, RuntimeOptions)
    runtime = replace(runtime, version=version)
    profile: DeviceProfile = replace(PHONE, runtimes=(runtime,))
    refuse_older(recipe, target, runtime, profile)


def recipe(name: str) -> Recipe:
    return load_recipe(name, load_target("tflite"))


def test_the_refusal_names_recipe_profile_and_the_latest_version_that_is_needed() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'int8-dynamic' stores weights as int8 and asks for activations = \"dynamic-int8\", "
        r"which ai_edge_litert executes from 2\.10\.0 on \(hybrid kernels\), and the profile "
        r"'pixel-8' has 2\.0\.3",
    ) as caught:
        refuse(recipe("int8-dynamic"), "2.0.3")
    assert "install ai_edge_litert 2.10.0" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("fp32", "1.0"),
        ("int8-weights", "2.1.0"),
        ("int8-dynamic", "2.10"),
        ("int8-dynamic", "3"),
        ("int8-dynamic", None),
    ],
)
def test_what_the_version_executes_is_not_refused(name: str, version: str | None) -> None:
    refuse(recipe(name), version)


def test_a_rule_counts_as_the_recipe_does() -> None:
    with pytest.raises(ConfigError, match=r"from 2\.1 on"):
        refuse(replace(recipe("fp32"), rules=(Rule(storage="int8"),)), "2.0")


def test_a_version_without_numbers_is_an_error_that_names_the_profile() -> None:
    with pytest.raises(ConfigError, match="'pixel-8': 'newest' is not a version"):
        refuse(recipe("int8-dynamic"), "newest")


def test_versions_are_compared_as_numbers() -> None:
    texts = ["1.9", "1.10.0rc1", "1.10.1", "2", "10"]
    found = [version_numbers(text, "a test") for text in texts]
    assert found == sorted(found)
    assert version_numbers("1.10", "a test") == version_numbers("1.10.0", "a test")


def test_what_the_targets_list_concerns_one_of_their_recipes_and_has_a_version() -> None:
    for target in load_targets().values():
        recipes = [load_recipe(name, target) for name in target.recipes]
        for since in target.runtime_since:
            assert version_numbers(since.version, target.name)
            assert any(since.concerns(it) for it in recipes), since


@pytest.mark.parametrize(
    ("name", "version", "needed"),
    [("int4-dynamic", "2.0.3", "2.1.0"), ("int4-channel", "1.0.1", "1.1.2")],
)
def test_litert_that_would_compute_4_bits_wrong_is_refused(
    name: str, version: str, needed: str
) -> None:
    target = load_target("tflite")
    with pytest.raises(ConfigError, match=rf"'{name}'.*from {re.escape(needed)} on") as caught:
        refuse(recipe(name), version, target)
    assert f"install ai_edge_litert {needed}" in caught.value.hint
    refuse(recipe(name), needed, target)
    refuse(recipe(name), None, target)
