"""What a family declares decides how a pipeline's folder is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import SourceError
from edgegen.core.model import Component, PipelineSpec
from edgegen.families import FAMILIES, facts_of, family_of
from edgegen.families.base import Family, Slot
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.networks import NETWORKS, OLD_NAMES
from edgegen.packaging.axes import fix_axes, used_outputs
from tests.conftest import TinyPipeline

Declare = Callable[..., Family]


def read(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


def component(spec: PipelineSpec, name: str) -> Component:
    return next(it for it in spec.components if it.name == name)


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Exchange facts of Stable Diffusion's family."""

    def exchange(**changes: Any) -> Family:
        family = replace(FAMILIES["stable-diffusion"], **changes)
        monkeypatch.setitem(FAMILIES, family.name, family)  # type: ignore[arg-type]  # a dict
        return family

    return exchange


def with_slot(name: str, **changes: Any) -> tuple[Slot, ...]:
    slots = FAMILIES["stable-diffusion"].slots
    return tuple(replace(it, **changes) if it.name == name else it for it in slots)


def test_a_family_may_export_one_half_of_its_autoencoder(
    declare: Declare, tiny_pipeline: TinyPipeline
) -> None:
    declare(slots=with_slot("vae", roles=("decoder",)))
    names = [it.name for it in read(tiny_pipeline("sd15")).components]
    assert names == ["text_encoder", "unet", "vae_decoder"]


def test_a_pipeline_s_class_may_say_to_how_many_tokens_it_pads(
    declare: Declare, tiny_pipeline: TinyPipeline
) -> None:
    plain = FAMILIES["stable-diffusion"].pipelines
    declare(pipelines={name: replace(it, text_length=50) for name, it in plain.items()})
    assert read(tiny_pipeline("sd15")).generation.text_length == 50


def test_a_network_that_a_slot_does_not_take_is_refused_with_advice(
    declare: Declare, tiny_pipeline: TinyPipeline
) -> None:
    declare(slots=with_slot("vae", classes=("AutoencoderTiny",), advice="Train one."))
    with pytest.raises(SourceError, match="the vae is a AutoencoderKL") as caught:
        read(tiny_pipeline("sd15"))
    assert caught.value.hint == "Save the pipeline with a AutoencoderTiny. Train one."


def test_a_network_is_known_by_the_name_that_older_models_give_it(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OLD_NAMES, "OldUNet", "UNet2DConditionModel")  # type: ignore[arg-type]
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("sd15"), folder)
    for name in ("model_index.json", "unet/config.json"):
        path = folder / name
        path.write_text(path.read_text().replace("UNet2DConditionModel", "OldUNet"))
    assert json.loads((folder / "model_index.json").read_text())["unet"][1] == "OldUNet"
    assert component(read(folder), "unet").class_name == "UNet2DConditionModel"


@pytest.mark.parametrize(
    ("family", "name", "outputs"),
    [
        ("sd15", "text_encoder", ["last_hidden_state", "pooler_output"]),
        ("sdxl", "text_encoder", ["hidden_states.1", "pooler_output"]),
        ("sdxl", "text_encoder_2", ["hidden_states.2", "text_embeds"]),
        ("sd15", "unet", ["out_sample"]),
    ],
)
def test_only_what_the_pipeline_reads_is_used_of_a_text_encoder(
    family: str, name: str, outputs: list[str], tiny_pipeline: TinyPipeline
) -> None:
    spec = read(tiny_pipeline(family))
    used = used_outputs(component(spec, name), spec)
    assert [it.name for it in used.outputs] == outputs


@pytest.mark.parametrize(("family", "batch"), [("sd15", 2), ("lcm", 1), ("ddpm", 1)])
def test_only_a_denoiser_that_is_compared_with_an_empty_prompt_takes_two_samples(
    family: str, batch: int, tiny_pipeline: TinyPipeline
) -> None:
    spec = read(tiny_pipeline(family))
    fixed = fix_axes(component(spec, "unet"), spec, "fixed", denoiser_batch=2)
    assert fixed.inputs[0].shape[0] == batch


def test_axes_that_a_network_fixes_are_numbers_where_the_others_stay_open(
    tiny_pipeline: TinyPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NETWORKS["UNet2DConditionModel"]
    (part,) = network.parts
    fixing = replace(network, parts=(replace(part, fixed_axes=("height", "width")),))
    monkeypatch.setitem(NETWORKS, network.class_name, fixing)  # type: ignore[arg-type]  # a dict
    spec = read(tiny_pipeline("sd15"))
    latents = spec.generation.height // spec.generation.vae_scale_factor
    sample = fix_axes(component(spec, "unet"), spec, "dynamic").inputs[0]
    assert sample.shape == ("batch", 4, latents, latents)


def test_a_guidance_scale_that_the_denoiser_takes_is_embedded_in_any_family(
    tiny_pipeline: TinyPipeline,
) -> None:
    generation = read(tiny_pipeline("sd15")).generation
    distilled = replace(generation, guidance_embedding_dim=256)
    assert facts_of("stable-diffusion", generation).guidance == "classifier-free"
    assert facts_of("stable-diffusion", distilled).guidance == "embedded"


def test_an_unknown_family_is_named_with_the_nearest() -> None:
    with pytest.raises(SourceError, match="'stable-difusion'") as caught:
        family_of("stable-difusion")
    assert caught.value.hint is not None
    assert "stable-diffusion" in caught.value.hint
