"""Pipelines whose denoiser is told more than a text, packaged for every target."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.targets import load_targets
from edgegen.families import FAMILIES
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.build import Built
from edgegen.packaging.plan import plan
from tests.exporters.harness import TinyPipeline

LOWEST_PSNR_DB = 60.0
TINY = {
    "stable-diffusion-edit": "sd-edit",
    "stable-diffusion-xl-edit": "sdxl-edit",
    "stable-diffusion-upscale": "sd-upscale",
    "stable-diffusion-latent-upscale": "sd-latent-upscale",
    "stable-diffusion-depth": "sd-depth",
    "consistency-model": "consistency",
}


@pytest.mark.slow
@pytest.mark.parametrize("family", TINY)
def test_a_picture_is_torchs_from_every_target(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """The golden case is drawn by diffusers' own pipeline of the family, in float32."""
    folder = resolve(str(tiny_pipeline(TINY[family])))
    plans = [
        plan(folder, target=target, destination=tmp_path / target, recipe="fp32")
        for target in load_targets()
    ]
    for built in build_all(plans).packages:
        assert isinstance(built, Built), built
        assert built.manifest.family == family
        assert all(check.passed for check in built.evidence.parity)
        images = [check for check in built.evidence.parity if check.layer == "image"]
        assert images
        assert all(it.psnr_db is None or it.psnr_db >= LOWEST_PSNR_DB for it in images)
        golden = built.path / "golden"
        assert (golden / "input.png").is_file() == FAMILIES[family].facts.needs_picture
        assert (golden / "depth.png").is_file() == ("depth" in FAMILIES[family].facts.starts)
