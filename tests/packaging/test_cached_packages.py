"""Packages whose denoiser is two graphs, a whole and a shallow one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.model import Generation
from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.build import Built
from edgegen.packaging.drawing import cached_for
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import BuildPlan, plan
from tests.exporters.harness import TinyPipeline

TARGETS = tuple(load_targets())
GENERATION = Generation(width=64, height=64, latent_channels=4, steps=25, guidance=7.5)
STEPS = 12
"""Of each tiny pipeline, some of which draw in fewer by default."""


def plans(folder: Path, destination: Path, *targets: str, interval: int = 3) -> list[BuildPlan]:
    return [
        plan(
            resolve(str(folder)),
            target=target,
            destination=destination / target,
            recipe="fp32",
            steps=STEPS,
            cache_interval=interval,
        )
        for target in targets
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tiny", "targets"),
    [
        pytest.param("sd15", ("onnx", "tflite"), id="of open and of fixed shapes"),
        *(
            pytest.param(tiny, TARGETS, id=f"{tiny} on all", marks=pytest.mark.slow)
            for tiny in (
                *("sd15", "sd-inpaint", "lcm", "sdxl", "sdxl-inpaint", "sdxl-refiner"),
                *("ddpm", "ddim"),
            )
        ),
    ],
)
def test_a_cached_package_draws_torchs_image(
    tiny: str, targets: tuple[str, ...], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    planned = plans(tiny_pipeline(tiny), tmp_path, *targets)
    for built, its in zip(build_all(planned).packages, planned, strict=True):
        assert isinstance(built, Built), built
        manifest, checks = built.manifest, built.evidence.parity
        roles = {it.spec.role: it for it in manifest.components}
        assert [it.name for it in roles["denoiser"].spec.outputs] == ["out_sample", "features"]
        assert roles["shallow_denoiser"].spec.inputs[-1].name == "features"
        assert manifest.generation.cache_interval == 3
        assert manifest.golden is not None
        assert manifest.golden.cache_interval == 3
        names = {check.name for check in checks}
        assert {"unet.features", "unet_shallow.out_sample"} <= names
        assert all(check.passed for check in checks)
        assert all(it.psnr_db is None or it.psnr_db >= 60 for it in checks), its.name
        shallow, whole = (
            sum(file.size_bytes for file in manifest.files if file.path.startswith(f"{folder}/"))
            for folder in ("unet_shallow", "unet")
        )
        assert shallow < whole / 2
        predicted = its.prediction.component_bytes["unet_shallow"]
        assert 0.8 * predicted < shallow < 1.25 * predicted


def test_a_transformer_is_refused_before_anything_is_built(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="PixArtTransformer2DModel keeps no features") as caught:
        plans(tiny_pipeline("pixart"), tmp_path, "onnx")
    assert "--cache-interval" in (caught.value.hint or "")


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_few_steps_are_refused(steps: int) -> None:
    few = replace(GENERATION, steps=steps)
    with pytest.raises(ConfigError):
        cached_for(few, 2)
    assert cached_for(few, 1) == few
    assert cached_for(replace(GENERATION, steps=10), 2).cache_interval == 2


@pytest.mark.parametrize("interval", [0, -1, 26])
def test_what_is_no_interval_is_refused(interval: int) -> None:
    with pytest.raises(ConfigError, match=f"--cache-interval is {interval}"):
        cached_for(GENERATION, interval)


def test_a_model_that_draws_in_few_steps_is_refused(tiny_pipeline: TinyPipeline) -> None:
    with pytest.raises(ConfigError, match="kept through 4 steps gain next to nothing"):
        read_facts(resolve(str(tiny_pipeline("lcm"))), cache_interval=2)


def test_a_package_of_interval_1_is_the_one_without(tiny_pipeline: TinyPipeline) -> None:
    folder = resolve(str(tiny_pipeline("sd15")))
    assert read_facts(folder, cache_interval=1) == read_facts(folder)
