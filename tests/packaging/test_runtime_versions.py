"""A recipe that a profile's version of its runtime cannot execute is refused before a build."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.progress import SilentProgress
from edgegen.core.recipe import Recipe, Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.shipped import shipped
from edgegen.core.target import RuntimeSince, TargetSpec
from edgegen.core.targets import load_target, load_targets
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging.mixed import mix_wanted
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.runtime_versions import needs_of, refuse_older, version_numbers
from edgegen.packaging.wanted import Wanted

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


SINCE = [
    pytest.param(target, since, id=f"{target.name}-{since.runtime}-{number}")
    for target in load_targets().values()
    for number, since in enumerate(target.runtime_since)
]
BEFORE = {"1.1.2": "1.0.1", "1.4.0": "1.3.0", "1.16.0": "1.15.1", "2023.3.0": "2023.2.0"}
"""A version that a target asks for -> the last before it, where arithmetic does not tell."""


def having(target: TargetSpec, since: RuntimeSince, version: str | None) -> DeviceProfile:
    """Return a device with a version of the runtime that a row speaks of."""
    runtime = RuntimeOptions(
        target=target.name,
        package=since.runtime,
        version=version,
        recipe=target.default_recipe,
        shapes=target.shapes[0],
    )
    return replace(PHONE, name="board", runtimes=(runtime,))


@pytest.mark.parametrize(("target", "since"), SINCE)
def test_every_recipe_that_a_row_concerns_is_refused_by_name_with_the_version_that_can(
    target: TargetSpec, since: RuntimeSince
) -> None:
    concerned = [
        it for it in (load_recipe(name, target) for name in target.recipes) if since.concerns(it)
    ]
    assert concerned
    version = since.version
    for recipe in concerned:
        older = having(target, since, None if version is None else before(version))
        with pytest.raises(ConfigError, match=f"'{recipe.name}'") as caught:
            refuse_older(recipe, target, older.runtimes[0], older)
        if version is None:
            assert f"no version of {since.runtime}" in str(caught.value)
        else:
            named = re.search(r"executes from ([0-9.]+) on", str(caught.value))
            assert named is not None
            assert version_numbers(named[1], "it") >= version_numbers(version, "the row")
            able = having(target, since, named[1])
            refuse_older(recipe, target, able.runtimes[0], able)


def before(version: str) -> str:
    """Return a version that is older."""
    numbers = [*version_numbers(version, "a test")]
    numbers[-1] -= 1
    return BEFORE.get(version, ".".join(map(str, numbers)))


@pytest.mark.parametrize("name", load_target("onnx").recipes)
def test_onnxruntime_that_computes_another_image_is_refused_for_every_recipe(name: str) -> None:
    target = load_target("onnx")
    old = having(target, target.runtime_since[0], "1.15.1")
    with pytest.raises(
        ConfigError, match=rf"'{name}'.*onnxruntime executes from 1\.1[678]"
    ) as caught:
        refuse_older(load_recipe(name, target), target, old.runtimes[0], old)
    assert "install" in caught.value.hint.lower()


def test_a_runtime_that_never_will_is_refused_though_nobody_states_its_version() -> None:
    target = load_target("tflite")
    old = having(target, target.runtime_since[-1], None)
    with pytest.raises(ConfigError, match=r"ai_edge_litert does from 2\.1\.0 on") as caught:
        refuse_older(load_recipe("int4-dynamic", target), target, old.runtimes[0], old)
    assert "another runtime" in caught.value.hint
    refuse_older(load_recipe("fp16-storage", target), target, old.runtimes[0], old)


def test_a_mix_is_refused_by_its_name_before_its_layers_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = load_target("onnx")
    old = having(target, target.runtime_since[0], "1.15.1")
    monkeypatch.setattr(
        "edgegen.packaging.mixed.sensitivity_of", lambda *_: pytest.fail("measured")
    )
    with pytest.raises(ConfigError, match=r"'mixed-4\.5'.*from 1\.16\.0 on"):
        mix_wanted(
            read_facts(resolve("builtin:emoji")),
            [Wanted(target="onnx", recipe="mixed-4.5")],
            profile=old,
            width=None,
            height=None,
            progress=SilentProgress(),
        )


def test_wheels_that_are_brought_to_a_device_execute_every_recipe() -> None:
    text = (shipped("device_runners") / "wheels.toml").read_text(encoding="utf-8")
    wheels = tomllib.loads(text)["wheels"]
    seen = set()
    for target in load_targets().values():
        for since in target.runtime_since:
            for wheel in wheels:
                if since.version is not None and wheel["name"].replace("-", "_") == since.runtime:
                    seen.add(since.runtime)
                    brought = version_numbers(wheel["version"], wheel["name"])
                    assert brought >= version_numbers(since.version, target.name)
    assert seen == {"onnxruntime", "openvino", "ai_edge_litert"}


def test_what_the_targets_list_concerns_one_of_their_recipes_and_has_a_version() -> None:
    for target in load_targets().values():
        recipes = [load_recipe(name, target) for name in target.recipes]
        for since in target.runtime_since:
            assert since.version is None or version_numbers(since.version, target.name)
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


@pytest.mark.parametrize(
    ("target", "name", "needs"),
    [
        ("onnx", "fp16-storage", {"onnxruntime": "1.16.0"}),
        ("onnx", "int4", {"onnxruntime": "1.16.2"}),
        ("onnx", "int8-static-a16", {"onnxruntime": "1.18.0"}),
        ("tflite", "fp32", {}),
        ("tflite", "int4-dynamic", {"ai_edge_litert": "2.1.0", "tflite_runtime": None}),
        ("coreml", "fp16", {}),
    ],
)
def test_a_package_needs_the_latest_of_all_that_its_recipe_asks_for(
    target: str, name: str, needs: dict[str, str | None]
) -> None:
    spec = load_target(target)
    found = needs_of(load_recipe(name, spec), spec)
    assert {it.runtime: it.version for it in found} == needs
    assert all(it.why for it in found)
