"""What a target makes of a recipe and a profile, and how its exporter hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgegen.core.codec import decode, encode
from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.exporters.base import resolve_options
from edgegen.exporters.coreml.options import CoreMlOptions
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.exporters.options import TargetOptions
from edgegen.exporters.tflite.options import TfliteOptions

IPHONE = load_profile("iphone-15-pro")
PHONE = load_profile("pixel-8")


def options(target: str, profile: DeviceProfile, recipe: str | None = None) -> TargetOptions:
    runtime, spec = profile.runtime(target), load_target(target)
    assert runtime is not None
    return resolve_options(spec, load_recipe(recipe, spec), runtime, profile)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"activations": "float"}, "int4, which TFLite multiplies", "dynamic"),
        ({"activations": "int8"}, "int4, which TFLite multiplies", "dynamic"),
        ({"block": 48}, "blocks of 48", "block = 32"),
    ],
)
def test_4_bits_without_a_kernel_are_refused_by_name(
    changes: dict[str, Any], message: str, hint: str
) -> None:
    spec = load_target("tflite")
    recipe = replace(load_recipe("int4-dynamic", spec), **changes)
    asked = PHONE.runtime("tflite")
    assert asked is not None
    with pytest.raises(ConfigError, match=f"'int4-dynamic'.*{message}") as caught:
        resolve_options(spec, recipe, asked, PHONE)
    assert hint in caught.value.hint


@pytest.mark.parametrize("recipe", ["int4-dynamic", "int4-channel", "int8-dynamic"])
def test_litert_takes_the_recipes_of_few_bits(recipe: str) -> None:
    assert options("tflite", PHONE, recipe) == TfliteOptions()


def of_any_iphone(recipe: str) -> TargetOptions:
    runtime, spec = IPHONE.runtime("coreml"), load_target("coreml")
    assert runtime is not None
    runtime = replace(runtime, minimum_os=None)
    return resolve_options(spec, load_recipe(recipe, spec), runtime, None)


@pytest.mark.parametrize(
    ("target", "profile", "expected"),
    [
        ("onnx", IPHONE, OnnxOptions(operators="plain")),
        ("onnx", PHONE, OnnxOptions(operators="contrib")),
        ("tflite", PHONE, TfliteOptions()),
        (
            "coreml",
            IPHONE,
            CoreMlOptions(minimum_os=17, attention="split-einsum", file_limit_bytes=1_000_000_000),
        ),
    ],
    ids=["onnx-plain", "onnx-contrib", "tflite", "coreml"],
)
def test_a_target_takes_its_options_from_the_profile_and_its_exporter_reads_the_same(
    target: str, profile: DeviceProfile, expected: TargetOptions
) -> None:
    found = options(target, profile)

    assert found == expected
    assert decode(type(found), encode(found), source="a job") == found


@pytest.mark.parametrize(
    ("recipe", "minimum_os"),
    [("fp16", 16), ("palette6", 16), ("int4", 18), ("palette4-grouped", 18)],
)
def test_core_ml_needs_the_first_system_that_reads_a_recipe(recipe: str, minimum_os: int) -> None:
    assert of_any_iphone(recipe).minimum_os == minimum_os


def test_a_rule_of_a_recipe_counts_for_the_system_that_it_needs() -> None:
    spec, runtime = load_target("coreml"), IPHONE.runtime("coreml")
    assert runtime is not None
    recipe = replace(load_recipe("fp16", spec), rules=(Rule(storage="int4"),))
    with pytest.raises(ConfigError, match=r"stores weights as int4, which .* from iOS 18 on"):
        resolve_options(spec, recipe, runtime, IPHONE)


def test_core_ml_refuses_a_recipe_that_the_profiles_oldest_system_cannot_read() -> None:
    with pytest.raises(
        ConfigError, match=r"iOS 18 on \(macOS 15\).*'iphone-15-pro' asks for iOS 17"
    ):
        options("coreml", IPHONE, "int4")
