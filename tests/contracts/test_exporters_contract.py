"""What every exporter has to do: a new target gets these tests for its line in the table."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from edgegen.core.errors import SourceError
from edgegen.core.targets import load_targets
from edgegen.families import held_families
from edgegen.models.source import resolve
from edgegen.packaging.build import Built, build
from edgegen.packaging.plan import plan
from edgegen.packaging.verify import verify_package
from tests.exporters.harness import TinyPipeline, with_changed_weight

TARGETS = load_targets()
FAMILIES = {
    "stable-diffusion": "sd15",
    "stable-diffusion-inpaint": "sd-inpaint",
    "latent-consistency": "lcm",
    "stable-diffusion-xl": "sdxl",
    "stable-diffusion-xl-inpaint": "sdxl-inpaint",
    "stable-diffusion-xl-refiner": "sdxl-refiner",
    "unconditional": "ddpm",
}
"""Family -> tiny pipeline."""
QUICK = {("tflite", "int8-dynamic")}
"""Recipes that every run of the tests builds (other tests build packages for the other targets);
`make test-slow` builds every family and every recipe."""
CELLS = [(target, family) for target in TARGETS for family in held_families(TARGETS[target])]
RECIPES = [
    pytest.param(target, recipe, marks=() if (target, recipe) in QUICK else pytest.mark.slow)
    for target in TARGETS
    for recipe in TARGETS[target].recipes
]


def package(folder: Path, target: str, destination: Path, recipe: str | None = None) -> Built:
    planned = plan(resolve(str(folder)), target=target, destination=destination, recipe=recipe)
    return build(planned)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "family"), CELLS)
def test_a_package_of_every_family_makes_torchs_image(
    target: str, family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    built = package(tiny_pipeline(FAMILIES[family]), target, tmp_path / "package")
    layers = {check.layer for check in built.evidence.parity}
    assert layers == {"component", "trajectory", "image"}
    assert all(check.passed for check in built.evidence.parity)
    assert built.manifest.target == target
    assert built.manifest.shapes == TARGETS[target].shapes[0]
    for component in built.manifest.components:
        assert fnmatchcase(Path(component.path).name, TARGETS[target].artifact)


@pytest.mark.parametrize(("target", "recipe"), RECIPES)
def test_every_recipe_of_a_target_keeps_its_promise(
    target: str, recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    built = package(tiny_pipeline("sd15"), target, tmp_path / "package", recipe)
    assert all(check.passed for check in built.evidence.parity)
    assert not built.manifest.parity_failed
    if recipe == TARGETS[target].default_recipe:
        assert verify_package(tmp_path / "package").run.passed


@pytest.mark.slow  # each exporter has a test of its own for it
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


@pytest.mark.slow  # as above
@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_is_not_a_number_is_refused_and_nothing_is_written(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = with_changed_weight(tiny_pipeline("sd15"), tmp_path / "model", float("nan"))
    with pytest.raises(SourceError, match=r"mid_block\.resnets\.0\.conv1\.weight"):
        package(folder, target, tmp_path / "package")
    assert not (tmp_path / "package").exists()
