"""Packages whose decoder is of a tile: proved against torch in the same tiles."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgegen_runner.pipelines.tiles import starts

from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.batch import Built, build_all
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import plan_package
from tests.exporters.harness import TinyPipeline

TARGETS = tuple(load_targets())


@pytest.mark.slow
@pytest.mark.parametrize("tiny", ["sd15", "sdxl", "lcm", "sd-inpaint", "pixart"])
def test_a_package_that_decodes_in_tiles_draws_torchs_image(
    tiny: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = resolve(str(tiny_pipeline(tiny)))
    generation = read_facts(model).spec.generation
    side = generation.height // 2
    facts = read_facts(model, decode_tile=side)
    plans = [
        plan_package(facts, target=target, destination=tmp_path / target, recipe="fp32")
        for target in TARGETS
    ]
    for built in build_all(plans).packages:
        assert isinstance(built, Built), built
        manifest = built.manifest
        tile = side // generation.vae_scale_factor
        assert manifest.generation.decode_tile == tile
        assert manifest.golden is not None
        assert manifest.golden.decode_tile == tile
        (decoder,) = (it.spec for it in manifest.components if it.spec.role == "decoder")
        axes = decoder.inputs[0].shape[2:]
        assert axes == (tile, tile) or manifest.shapes == "dynamic"
        if manifest.shapes == "fixed":  # the others are compared at a small size
            assert len(starts(generation.height // generation.vae_scale_factor, tile)) > 1
        assert built.evidence.parity
        assert all(check.passed for check in built.evidence.parity)
