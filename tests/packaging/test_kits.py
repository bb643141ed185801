"""A kit is advised for the packages that it draws with, and for no others."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgegen.core.manifest import load_manifest
from edgegen.core.package import PackagedComponent, PackageManifest
from edgegen.core.shipped import shipped
from edgegen.core.targets import load_target
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.axes import fix_axes
from edgegen.packaging.kit_schedulers import APPLE, GENAI, KOTLIN
from edgegen.packaging.kits import KITS, NPU_KITS, kit_of, kit_page, kit_problem
from tests.conftest import TinyPipeline
from tests.kits.test_kotlin import CONFIGS, REFUSED, SD15
from tests.tiny_models import FAMILIES, write_json
from tests.tiny_packages import torch_package

TARGETS = shipped("targets")
PNDM = {
    **SD15,
    "_class_name": "PNDMScheduler",
    "skip_prk_steps": True,
    "steps_offset": 1,
}
DRAWN = {
    "coreml": {"sd15", "sd21", "sdxl", "taesd"},
    "openvino": {"sd15", "sd21", "sdxl", "lcm"},
    "tflite": {"sd15", "sd21", "taesd"},
}
"""Which tiny pipelines each kit draws, if their scheduler is PNDM: read in the kits' pages."""


@pytest.fixture(scope="module")
def genai() -> ModuleType:
    """Return the OpenVINO kit's program as a module."""
    path = TARGETS / "openvino" / "kit" / "text2image.py"
    spec = importlib.util.spec_from_file_location("kit_text2image", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _package(folder: Path, config: dict[str, Any] = PNDM) -> Path:
    """Return a folder with the scheduler of a package."""
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    write_json(folder / "scheduler" / "scheduler_config.json", config)
    return folder


@pytest.fixture(scope="module")
def manifest(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that makes the manifest of a tiny pipeline's package for a target."""
    folder = torch_package("sd15", tiny_pipeline("sd15"), tmp_path_factory.mktemp("kits") / "made")
    base = load_manifest(folder)

    def make(family: str, target: str) -> PackageManifest:
        spec = read_pipeline(resolve(str(tiny_pipeline(family))))
        batch = {"coreml": 2, "tflite": 1}.get(target)
        components = spec.components
        if batch is not None:
            components = tuple(
                fix_axes(it, spec, "fixed", denoiser_batch=batch) for it in components
            )
        return replace(
            base,
            family=spec.family,
            facts=spec.facts,
            pipeline_class=spec.pipeline_class,
            generation=replace(spec.generation, steps=20),
            components=tuple(
                PackagedComponent(spec=it, path=it.name, storage_bytes=0) for it in components
            ),
            target=target,
        )

    return make


def test_each_kit_has_its_facts_and_its_page() -> None:
    folders = {(it.parent.name, it.name) for it in TARGETS.glob("*/kit*")}
    assert {(name, it.folder) for kits in (KITS, NPU_KITS) for name, it in kits.items()} == folders


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kit_is_advised_for_the_pipelines_that_it_draws(
    family: str, manifest: Any, genai: ModuleType, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    package = _package(tmp_path)
    for target, drawn in DRAWN.items():
        made = manifest(family, target)
        kit = kit_of(made)
        assert kit is not None
        assert kit_page(kit, made).is_file()
        problem = kit_problem(kit, made, package)
        assert (problem is None) == (family in drawn), (target, problem)
    made = manifest(family, "openvino")
    index = json.loads((tiny_pipeline(family) / "model_index.json").read_text("utf-8"))
    write_json(tmp_path / "model_index.json", index)
    facts = {"takes_picture_prompt": False, "controls": made.facts.controls}
    write_json(tmp_path / "edgegen.json", {"facts": facts})
    check = genai.check_control if made.facts.controls else genai.check_pipeline
    if family in DRAWN["openvino"]:
        check(tmp_path)
    else:
        with pytest.raises((genai.UnsupportedControl, genai.UnsupportedPipeline)):
            check(tmp_path)


@pytest.mark.parametrize(
    ("target", "changes", "why"),
    [
        ("coreml", {"guidance_stop": 0.5}, "--guidance-stop"),
        ("openvino", {"guidance_start": 0.2}, "--guidance-start"),
        ("tflite", {"guidance_stop": 0.5}, None),
        ("coreml", {"steps": 1}, "fewer than 2 steps"),
    ],
)
def test_a_kit_is_advised_for_the_steps_that_it_draws(
    target: str, changes: dict[str, Any], why: str | None, manifest: Any, tmp_path: Path
) -> None:
    made = manifest("sd15", target)
    made = replace(made, generation=replace(made.generation, **changes))
    problem = kit_problem(KITS[target], made, _package(tmp_path))
    assert problem is None if why is None else why in str(problem)


def test_a_kit_takes_the_samples_a_call_that_it_feeds(manifest: Any, tmp_path: Path) -> None:
    one = replace(manifest("sd15", "tflite"), target="coreml")
    assert "denoiser_batch = 2" in str(kit_problem(KITS["coreml"], one, _package(tmp_path)))
    two = replace(manifest("sd15", "coreml"), target="tflite")
    assert "denoiser_batch = 1" in str(kit_problem(KITS["tflite"], two, _package(tmp_path)))
    swift, kotlin = TARGETS / "coreml/kit/Sources", TARGETS / "tflite/kit/src/main/kotlin"
    for sources, target, says in (
        (swift, "coreml", r"samplesFedByApple = (\d)"),
        (kotlin, "tflite", r"SAMPLES = (\d)"),
    ):
        text = "".join(
            path.read_text("utf-8") for path in (sources / "").rglob("*") if path.is_file()
        )
        assert re.findall(says, text) == [str(KITS[target].samples)]
    painter = (swift / "EdgegenKit/Painter.swift").read_text("utf-8")
    assert "throw PainterError.unsupportedSamples(samples)" in painter


def test_a_kit_is_not_advised_for_colours_that_it_misses(manifest: Any, tmp_path: Path) -> None:
    made = manifest("sdxl", "openvino")
    scaled = replace(made.generation, latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4)
    problem = kit_problem(KITS["openvino"], replace(made, generation=scaled), _package(tmp_path))
    assert "colours" in str(problem)


def test_a_decoder_of_tiles_is_for_no_kit(manifest: Any, tmp_path: Path) -> None:
    for target, kit in KITS.items():
        made = manifest("sd15", target)
        tiled = replace(made, generation=replace(made.generation, decode_tile=8))
        assert "--decode-tile" in str(kit_problem(kit, tiled, _package(tmp_path)))


def test_a_picture_as_a_part_of_the_prompt_is_for_no_kit(manifest: Any, tmp_path: Path) -> None:
    for target, kit in KITS.items():
        made = manifest("sd15", target)
        made = replace(made, facts=replace(made.facts, takes_picture_prompt=True))
        assert "family" in str(kit_problem(kit, made, _package(tmp_path)))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_kotlin_kit_is_advised_for_schedulers_that_it_has(
    name: str, manifest: Any, tmp_path: Path
) -> None:
    made = manifest("sd15", "tflite")
    assert kit_problem(KITS["tflite"], made, _package(tmp_path, CONFIGS[name])) is None


@pytest.mark.parametrize("name", REFUSED)
def test_the_kotlin_kit_is_not_advised_for_others(name: str, manifest: Any, tmp_path: Path) -> None:
    made = manifest("sd15", "tflite")
    assert kit_problem(KITS["tflite"], made, _package(tmp_path, REFUSED[name])) is not None


def test_the_schedulers_are_those_of_the_kits(genai: ModuleType) -> None:
    kotlin = TARGETS / "tflite/kit/src/main/kotlin/edgegen/kit/Scheduler.kt"
    assert set(re.findall(r'"(\w+Scheduler)" to ::', kotlin.read_text("utf-8"))) == set(KOTLIN)
    swift = (TARGETS / "coreml/kit/Sources/EdgegenKit/PackageScheduler.swift").read_text("utf-8")
    assert set(re.findall(r'case "(\w+Scheduler)":', swift)) == set(APPLE)
    options = {it for each in APPLE.values() for it in (*each.options, *each.xl_options)}
    assert set(re.findall(r'check\("(\w+)"', swift)) <= options
    assert options <= set(re.findall(r'"(\w+)"', swift))
    other = load_target("openvino").other_runner
    assert other is not None
    assert {*(other.pipelines or ())} == genai.PIPELINES
    assert {*(other.autoencoders or ())} == genai.AUTOENCODERS
    assert {name: dict(it.options) for name, it in GENAI.items()} == genai.SCHEDULERS


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        (PNDM, True),
        ({**PNDM, "skip_prk_steps": False}, False),
        ({**SD15, "_class_name": "EulerDiscreteScheduler"}, False),  # GenAI's spacing is another
        ({**SD15, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}, True),
        ({**SD15, "_class_name": "LCMScheduler"}, True),
        ({**SD15, "_class_name": "LCMScheduler", "prediction_type": "v_prediction"}, False),
        ({**SD15, "_class_name": "DDIMScheduler"}, False),  # it clips where nothing is said
        ({**SD15, "_class_name": "DDIMScheduler", "clip_sample": False}, True),
        ({**SD15, "_class_name": "LMSDiscreteScheduler"}, False),
    ],
)
def test_the_openvino_kit_is_advised_for_what_it_checks(
    config: dict[str, Any], accepted: bool, manifest: Any, genai: ModuleType, tmp_path: Path
) -> None:
    package = _package(tmp_path, config)
    problem = kit_problem(KITS["openvino"], manifest("sd15", "openvino"), package)
    assert (problem is None) == accepted, problem
    if accepted:
        genai.check_scheduler(package)
    else:
        with pytest.raises(genai.UnsupportedScheduler):
            genai.check_scheduler(package)
