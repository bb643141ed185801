"""What every exporter has to do: a new target gets these tests for its line in the table."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest

from edgegen.core.errors import EdgegenError, ExportError, SourceError
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets
from edgegen.families import held_families
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.build import Built, build
from edgegen.packaging.plan import plan
from edgegen.packaging.verify import verify_package
from tests.exporters.harness import (
    LARGE_WEIGHT,
    TinyPipeline,
    export_component,
    shared_capture,
    with_changed_weight,
    without_convolution,
)

TARGETS = load_targets()
FAMILIES = {
    "stable-diffusion": "sd15",
    "stable-diffusion-inpaint": "sd-inpaint",
    "stable-diffusion-edit": "sd-edit",
    "stable-diffusion-upscale": "sd-upscale",
    "stable-diffusion-latent-upscale": "sd-latent-upscale",
    "stable-diffusion-depth": "sd-depth",
    "latent-consistency": "lcm",
    "stable-diffusion-xl": "sdxl",
    "stable-diffusion-xl-inpaint": "sdxl-inpaint",
    "stable-diffusion-xl-edit": "sdxl-edit",
    "stable-diffusion-xl-refiner": "sdxl-refiner",
    "stable-diffusion-controlnet": "sd15-controlnet",
    "stable-diffusion-inpaint-controlnet": "sd-inpaint-controlnet",
    "stable-diffusion-xl-controlnet": "sdxl-controlnets",
    "stable-diffusion-xl-inpaint-controlnet": "sdxl-inpaint-controlnet",
    "stable-diffusion-t2i-adapter": "sd15-adapter",
    "stable-diffusion-xl-t2i-adapter": "sdxl-adapter",
    "consistency-model": "consistency",
    "unconditional": "ddpm",
    "pixart": "pixart",
}
"""Family -> tiny pipeline."""
ROUNDED = {"onnx": "fp16", "openvino": "int8", "tflite": "int8-dynamic", "coreml": "int8"}
"""Target -> a recipe that changes weights most, of those that are quick."""
LAYERS = ("component", "trajectory", "image")


def package(folder: Path, target: str, destination: Path) -> Built:
    return build(plan(resolve(str(folder)), target=target, destination=destination))


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_recipe_of_every_target_makes_torchs_image(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """A cell is named that could not be built, or missed its recipe's tolerance in some layer."""
    folder = resolve(str(tiny_pipeline(FAMILIES[family])))
    cells = [
        (target, recipe)
        for target in TARGETS
        if family in held_families(TARGETS[target])
        for recipe in TARGETS[target].recipes
    ]
    plans = [
        plan(folder, target=target, destination=tmp_path / f"{target}-{recipe}", recipe=recipe)
        for target, recipe in cells
    ]
    built = dict(zip(cells, build_all(plans, accept_failure=True).packages, strict=True))
    assert {cell: misses(outcome) for cell, outcome in built.items() if misses(outcome)} == {}
    for (target, _), outcome in built.items():
        assert isinstance(outcome, Built)
        spec = TARGETS[target]
        assert {check.layer for check in outcome.evidence.parity} == {*LAYERS}
        assert outcome.manifest.target == target
        assert outcome.manifest.shapes == spec.shapes[0]
        for component in outcome.manifest.components:
            assert fnmatchcase(Path(component.path).name, spec.artifact)


def misses(outcome: Built | EdgegenError) -> list[str]:
    """Return what parity missed; the error where there is no package."""
    if isinstance(outcome, EdgegenError):
        return [str(outcome)]
    return [
        f"{it.layer} {it.name}: {it.psnr_db} dB" for it in outcome.evidence.parity if not it.passed
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "targets",
    [
        pytest.param(("tflite",), id="of fixed shapes"),
        pytest.param(tuple(TARGETS), id="all"),
    ],
)
def test_a_transformer_that_reads_a_mask_draws_torchs_image(
    targets: tuple[str, ...], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = resolve(str(tiny_pipeline("pixart")))
    plans = [
        plan(folder, target=target, destination=tmp_path / target, recipe="fp32")
        for target in targets
    ]
    for built in build_all(plans).packages:
        assert isinstance(built, Built), built
        assert {check.layer for check in built.evidence.parity} == {*LAYERS}
        assert all(check.passed for check in built.evidence.parity)
        images = [check for check in built.evidence.parity if check.layer == "image"]
        assert all(check.psnr_db is None or check.psnr_db >= 60 for check in images)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_a_package_is_verified_as_it_was_built(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    package(tiny_pipeline("sd15"), target, tmp_path / "package")
    assert verify_package(tmp_path / "package").run.passed


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_component_gives_the_same_bytes_and_no_place_of_this_machine(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_pipeline("sdxl")
    first, second = (tmp_path / name for name in ("first", "second"))
    for again, destination in enumerate((first, second)):
        capture = partial(shared_capture, again=again)
        monkeypatch.setattr("edgegen.exporters.capture.capture", capture)
        export_component(target, folder, "unet", destination, rounded(target))
    written = contents(first)
    assert written == contents(second)
    for place in (tmp_path, folder):
        assert not [name for name, data in written.items() if str(place).encode() in data]


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_float16_cannot_hold_is_an_error_that_names_it(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_changed_weight(tiny_pipeline("ddim"), tmp_path / "model", 1e6)
    with pytest.raises(ExportError, match=rf"{re.escape(LARGE_WEIGHT)}.*1e\+06") as caught:
        export_component(target, folder, "unet", tmp_path / "half", halved(target))
    assert "float32" in caught.value.hint
    export_component(target, folder, "unet", tmp_path / "wide", "fp32")


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_is_not_finite_is_an_error_that_names_it(
    target: str, value: float, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_changed_weight(tiny_pipeline("ddim"), tmp_path / "model", value)
    for recipe in ("fp32", rounded(target)):
        with pytest.raises(SourceError, match=re.escape(LARGE_WEIGHT)):
            export_component(target, folder, "unet", tmp_path / recipe, recipe)


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize("target", TARGETS)
def test_an_operator_that_the_table_lacks_is_refused_with_its_layer(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_convolution(monkeypatch, target)
    with pytest.raises(ExportError, match=r"aten\.conv2d\.default \(in conv_in\)"):
        export_component(target, tiny_pipeline("ddim"), "unet", tmp_path)


def halved(target: str) -> str:
    """Return the first of a target's recipes that stores float16."""
    recipes = (load_recipe(name, TARGETS[target]) for name in TARGETS[target].recipes)
    return next(recipe.name for recipe in recipes if recipe.storage == "float16")


def rounded(target: str) -> str:
    return ROUNDED.get(target, TARGETS[target].default_recipe)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow  # the graph and its weights are compared in every run
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_model_gives_the_same_bytes(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    first, second = (
        build(
            plan(resolve(str(folder)), target=target, destination=tmp_path / name), parity=False
        ).manifest
        for name in ("first", "second")
    )
    assert first.files == second.files


@pytest.mark.slow  # that it is an error is looked at in every run
@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_is_not_a_number_is_refused_and_nothing_is_written(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_changed_weight(tiny_pipeline("sd15"), tmp_path / "model", float("nan"))
    with pytest.raises(SourceError, match=r"mid_block\.resnets\.0\.conv1\.weight"):
        package(folder, target, tmp_path / "package")
    assert not (tmp_path / "package").exists()
