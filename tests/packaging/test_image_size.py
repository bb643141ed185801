"""A package is built for the size that was asked for, in every target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.cli.main import run as run_edgegen
from edgegen.core.errors import ConfigError
from edgegen.core.targets import load_targets
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import BuildPlan, plan
from edgegen.runner.png import read_pixels
from tests.conftest import TinyPipeline
from tests.exporters.test_odd_networks import FOUR_LEVELS
from tests.tiny_models import build as build_tiny

FIXED = [name for name, target in load_targets().items() if target.shapes == ("fixed",)]


def planned(folder: Path, target: str, place: Path, **options: int) -> BuildPlan:
    return plan(resolve(str(folder)), target=target, destination=place, **options)


@pytest.mark.parametrize("target", FIXED)
def test_fixed_shapes_are_those_of_the_size_that_was_asked_for(
    target: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    made = planned(tiny_pipeline("sd15"), target, tmp_path / "out", width=48, height=40)
    shapes = {component.name: component.inputs[0].shape for component in made.candidate.components}
    assert shapes["unet"][2:] == (20, 24)
    assert shapes["vae_encoder"][2:] == (40, 48)
    assert (made.candidate.spec.generation.width, made.candidate.spec.generation.height) == (48, 40)


@pytest.mark.slow
def test_a_package_draws_and_is_checked_at_its_size_and_names_the_option_for_another(
    tiny_pipeline: TinyPipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package, picture = tmp_path / "package", tmp_path / "picture.png"
    made = planned(tiny_pipeline("sd15"), "tflite", package, width=40, height=24)
    golden = build(made).manifest.golden
    assert golden is not None
    assert (golden.width, golden.height) == (40, 24)
    drawing = ["run", str(package), "--prompt", "cat", "--steps", "1", "-o", str(picture)]
    assert run_edgegen(drawing) == 0
    assert read_pixels(picture).shape[:2] == (24, 40)
    assert run_edgegen([*drawing, "--width", "32"]) != 0
    assert "--width 32 --height 24" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("target", load_targets())
def test_every_target_passes_parity_at_a_size_that_the_levels_cannot_halve_evenly(
    target: str, tmp_path: Path
) -> None:
    folder = build_tiny("sd15", tmp_path / "model", changes={"unet": FOUR_LEVELS})
    built = build(planned(folder, target, tmp_path / "out", width=72, height=40))
    assert built.manifest.golden is not None
    assert (built.manifest.golden.width, built.manifest.golden.height) == (72, 40)
    assert {check.layer for check in built.evidence.parity} == {"component", "trajectory", "image"}
    assert all(check.passed for check in built.evidence.parity)


def test_a_profile_names_the_size_and_an_option_goes_before_it(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    profile = load_profile("iphone-15-pro")
    runtimes = tuple(replace(it, width=64, height=48) for it in profile.runtimes)
    sized = replace(profile, runtimes=runtimes)
    folder = resolve(str(tiny_pipeline("sd15")))
    for width, drawn in ((None, (64, 48)), (32, (32, 48))):
        made = plan(
            folder,
            target=runtimes[0].target,
            destination=tmp_path / "out",
            profile=sized,
            width=width,
        )
        assert (
            made.candidate.spec.generation.width,
            made.candidate.spec.generation.height,
        ) == drawn


@pytest.mark.parametrize(
    ("family", "width", "says", "hint"),
    [
        ("sd15", 50, "multiples of 8, and 50 × 32", "--width 48 --height 32"),
        ("ddpm", 17, "multiples of 2, and 17 × 16", "--width 16 --height 16"),
        ("sd15", -8, "multiples of 8", "--width 8"),
        ("sd15", 32_768, "too large", "smaller"),
    ],
)
def test_a_size_that_cannot_be_drawn_is_refused_before_anything_is_built(
    family: str, width: int, says: str, hint: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        planned(tiny_pipeline(family), "onnx", tmp_path / "out", width=width)
    assert hint in str(caught.value.hint)
