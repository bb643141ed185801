"""Which axes a package leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen import networks
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.profile import Shapes
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.packaging.axes import fix_axes
from tests.conftest import TinyPipeline


@pytest.fixture
def spec(tiny_pipeline: TinyPipeline) -> PipelineSpec:
    folder = tiny_pipeline("sd15")
    return read_pipeline(ModelFolder(path=folder, source=str(folder)))


def named(spec: PipelineSpec, name: str) -> Component:
    return next(component for component in spec.components if component.name == name)


def test_a_dynamic_package_fixes_only_the_length_of_the_text(spec: PipelineSpec) -> None:
    text = fix_axes(named(spec, "text_encoder"), spec, "dynamic")
    assert text.inputs[0].shape == ("batch", 77)
    unet = named(spec, "unet")
    assert fix_axes(unet, spec, "dynamic") == unet


def test_an_axis_that_a_network_holds_in_its_constants_is_fixed_at_the_models_size(
    spec: PipelineSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = networks.NETWORKS["UNet2DConditionModel"]
    parts = tuple(replace(part, fixed_axes=("height", "width")) for part in known.parts)
    table = {**networks.NETWORKS, known.class_name: replace(known, parts=parts)}
    monkeypatch.setattr(networks, "NETWORKS", table)
    unet = fix_axes(named(spec, "unet"), spec, "dynamic")
    assert unet.inputs[0].shape == ("batch", 4, 16, 16)
    assert unet.outputs[0].shape == ("batch", 4, 16, 16)
    assert unet.inputs[2].shape == ("batch", "sequence", 32)
    decoder = named(spec, "vae_decoder")
    assert fix_axes(decoder, spec, "dynamic") == decoder


@pytest.mark.parametrize("shapes", ["fixed", "dynamic"])
def test_a_decoder_of_tiles_takes_a_tile_where_sizes_are_fixed(
    spec: PipelineSpec, shapes: Shapes
) -> None:
    spec = replace(spec, generation=replace(spec.generation, decode_tile=8))
    decoder = fix_axes(named(spec, "vae_decoder"), spec, shapes)
    encoder = fix_axes(named(spec, "vae_encoder"), spec, shapes)
    if shapes == "dynamic":
        assert decoder == named(spec, "vae_decoder")
        return
    scale = spec.generation.vae_scale_factor
    assert decoder.inputs[0].shape == (1, 4, 8, 8)
    assert decoder.outputs[0].shape == (1, 3, 8 * scale, 8 * scale)
    assert encoder.inputs[0].shape == (1, 3, spec.generation.height, spec.generation.width)
