"""Plans: what is decided, and refused, before anything is written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgegen.core.errors import ConfigError, ResourceError
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging import plan as planning
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.plan import ROOM_BYTES, BuildPlan, plan_package, plan_packages
from edgegen.packaging.wanted import Wanted
from tests.conftest import TinyPipeline


@pytest.fixture(scope="module")
def facts(tiny_pipeline: TinyPipeline) -> ModelFacts:
    return read_facts(resolve(str(tiny_pipeline("ddpm"))))


def plan_two(facts: ModelFacts, base: Path) -> tuple[BuildPlan, ...]:
    return plan_packages(
        facts,
        (Wanted("onnx", None), Wanted("tflite", "fp32")),
        base,
        profile=None,
        width=None,
        height=None,
        force=False,
        in_folders=True,
        one_picture=True,
    )


def test_several_packages_go_to_folders_that_are_named_after_target_and_recipe(
    facts: ModelFacts, tmp_path: Path
) -> None:
    plans = plan_two(facts, tmp_path / "out")
    assert [plan.destination.name for plan in plans] == ["onnx-fp16-storage", "tflite-fp32"]
    assert [plan.name for plan in plans] == ["onnx fp16-storage", "tflite fp32"]
    assert not (tmp_path / "out").exists()


def test_the_disk_must_have_room_for_all_packages_at_once(
    facts: ModelFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [plan.prediction.package_bytes for plan in plan_two(facts, tmp_path)]

    def with_free(free: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    with_free(sum(sizes) + ROOM_BYTES)
    assert len(plan_two(facts, tmp_path)) == 2
    with_free(sum(sizes) + ROOM_BYTES - 1)
    with pytest.raises(ResourceError, match="2 packages take about"):
        plan_two(facts, tmp_path)
    with_free(min(sizes) + ROOM_BYTES - 1)
    with pytest.raises(ResourceError, match="The package takes about"):
        plan_two(facts, tmp_path)


def test_a_package_that_is_there_is_replaced_only_by_force(
    facts: ModelFacts, tmp_path: Path
) -> None:
    place = tmp_path / "package"
    place.mkdir()
    (place / "notes.txt").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        plan_package(facts, target="onnx", destination=place, force=True)


def test_recipe_and_runtime_come_from_the_profile(facts: ModelFacts, tmp_path: Path) -> None:
    profile = load_profile("pixel-8")
    runtime = profile.runtimes[0]
    made = plan_package(
        facts, target=runtime.target, destination=tmp_path / "out", profile=profile
    ).candidate
    assert (made.recipe.name, made.runtime) == (runtime.recipe, runtime)


def test_a_component_larger_than_an_application_is_warned_of(
    facts: ModelFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = load_profile("pixel-8")
    limit = profile.application_memory_bytes
    predict = planning.predict

    def enormous(candidate, facts):  # type: ignore[no-untyped-def]  # as `predict`
        return replace(predict(candidate, facts), component_bytes={"unet": limit + 1})

    monkeypatch.setattr(planning, "predict", enormous)
    monkeypatch.setattr(planning, "require_room", lambda _: None)
    made = plan_package(
        facts, target=profile.runtimes[0].target, destination=tmp_path / "out", profile=profile
    )
    assert any("unet alone takes" in warning for warning in made.warnings)


def test_a_weight_larger_than_the_device_s_largest_buffer_is_warned_of(
    facts: ModelFacts, tmp_path: Path
) -> None:
    profile = load_profile("ipad-pro-m4")
    for limit, count in ((1_000, 1), (1 << 40, 0)):
        made = plan_package(
            facts,
            target="coreml",
            destination=tmp_path / "out",
            profile=replace(profile, largest_buffer_bytes=limit),
        )
        assert sum("in one buffer" in warning for warning in made.warnings) == count
