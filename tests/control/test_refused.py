"""Which networks steer which models: what does not fit is refused before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import EdgegenError
from edgegen.core.reading import Reading
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from tests.conftest import TinyPipeline
from tests.tiny_models import write_controlnet


def read(model: Path, *controlnets: Path, **options: Any) -> Any:
    reading = Reading(controlnets=tuple(map(str, controlnets)))
    return read_pipeline(resolve(str(model), reading=reading), **options)


def test_given_networks_take_the_place_of_a_model_s_own(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    nets = [write_controlnet("sdxl", tmp_path / name) for name in ("one", "two", "three")]
    spec = read(tiny_pipeline("sdxl-controlnets"), *nets[:1])
    assert [it.name for it in spec.components if it.role == "controlnet"] == ["controlnet"]
    assert spec.facts.controls == 1
    spec = read(tiny_pipeline("sdxl"), *nets)
    assert [it.name for it in spec.components if it.role == "controlnet"] == [
        *("controlnet", "controlnet_1", "controlnet_2")
    ]
    assert spec.family == "stable-diffusion-xl-controlnet"


def test_residuals_of_the_networks_are_inputs_of_the_unet(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    spec = read(tiny_pipeline("sd15"), write_controlnet("sd15", tmp_path / "net"))
    parts = {it.name: it for it in spec.components}
    given = {it.name: it.shape for it in parts["controlnet"].outputs}
    taken = {it.name: it.shape for it in parts["unet"].inputs if "residual" in it.name}
    assert given == taken
    assert list(given) == [f"additional_residual_{index}" for index in range(len(given))]
    assert given["additional_residual_0"] == ("batch", 32, "height / 2", "width / 2")


@pytest.mark.parametrize(
    ("family", "settings", "says"),
    [
        ("sdxl", {}, "ControlNet reads states of 80 numbers, and the UNet of 32"),
        ("sd15", {"block_out_channels": (32, 32)}, "does not fit the denoiser"),
        ("sd15", {"layers_per_block": 2}, "does not fit the denoiser"),
        ("sd15", {"conditioning_embedding_out_channels": (8, 16, 16)}, "halves the picture 2"),
        ("sd15", {"encoder_hid_dim": 32}, "encoder_hid_dim"),
    ],
)
def test_a_network_of_another_model_is_refused(
    family: str,
    settings: dict[str, Any],
    says: str,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    net = write_controlnet(family, tmp_path / "net", **settings)
    with pytest.raises(EdgegenError, match=says) as caught:
        read(tiny_pipeline("sd15"), net)
    assert caught.value.hint


def test_what_steers_nothing_is_refused(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    net = write_controlnet("sd15", tmp_path / "net")
    with pytest.raises(EdgegenError, match="does not steer a DDPMPipeline"):
        read(tiny_pipeline("ddpm"), net)
    with pytest.raises(EdgegenError, match=r"There is no folder .*nothing"):
        read(tiny_pipeline("sd15"), tmp_path / "nothing")
    with pytest.raises(EdgegenError, match="steered by a picture"):
        read(tiny_pipeline("sd15"), net, cached=True)
    config = net / "config.json"
    union = {**json.loads(config.read_text()), "_class_name": "ControlNetUnionModel"}
    config.write_text(json.dumps(union))
    with pytest.raises(EdgegenError, match="no model that a ControlNetUnionModel steers"):
        read(tiny_pipeline("sd15"), net)
