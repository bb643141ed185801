"""Pipelines are described from their configurations and headers, as diffusers would load them."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgegen import families
from edgegen.core.codec import decode, encode
from edgegen.core.errors import SourceError
from edgegen.core.model import Component, PipelineSpec
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from tests.tiny_models import FAMILIES, HIDDEN, HIDDEN_2, PROJECTION, absent, write_json

EXPECTED_FAMILIES = {
    "sd15": "stable-diffusion",
    "sd21": "stable-diffusion",
    "sdxl": "stable-diffusion-xl",
    "sdxl-refiner": "stable-diffusion-xl-refiner",
    "sdxl-inpaint": "stable-diffusion-xl-inpaint",
    "lcm": "latent-consistency",
    "sd-inpaint": "stable-diffusion-inpaint",
    "sd-inpaint-asymmetric": "stable-diffusion-inpaint",
    "sd15-controlnet": "stable-diffusion-controlnet",
    "sd-inpaint-controlnet": "stable-diffusion-inpaint-controlnet",
    "sdxl-controlnets": "stable-diffusion-xl-controlnet",
    "sdxl-inpaint-controlnet": "stable-diffusion-xl-inpaint-controlnet",
    "sd-edit": "stable-diffusion-edit",
    "sdxl-edit": "stable-diffusion-xl-edit",
    "sd-upscale": "stable-diffusion-upscale",
    "sd-latent-upscale": "stable-diffusion-latent-upscale",
    "sd-depth": "stable-diffusion-depth",
    "sd15-adapter": "stable-diffusion-t2i-adapter",
    "sdxl-adapter": "stable-diffusion-xl-t2i-adapter",
    "taesd": "stable-diffusion",
    "consistency": "consistency-model",
    "ddpm": "unconditional",
    "ddim": "unconditional",
    "pixart": "pixart",
    "pixart-sigma": "pixart",
}
TEXT_LENGTHS = {"pixart": 120, "pixart-sigma": 300}


def read(folder: Path) -> PipelineSpec:
    return read_pipeline(ModelFolder(path=folder, source=str(folder)))


def refused(folder: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(folder)
    assert caught.value.exit_code == 9
    assert caught.value.hint
    return caught.value


def change(path: Path, **changes: object) -> None:
    """Set keys of a JSON file; `...` removes one."""
    data = {**json.loads(path.read_text()), **changes}
    write_json(path, {key: value for key, value in data.items() if value is not ...})


def component(spec: PipelineSpec, name: str) -> Component:
    return next(it for it in spec.components if it.name == name)


def shapes(tensors: Any) -> dict[str, tuple[int | str, ...]]:
    return {tensor.name: tensor.shape for tensor in tensors}


@pytest.fixture
def copied(tiny_pipeline: Any, tmp_path: Path) -> Callable[[str], Path]:
    def copy(family: str) -> Path:
        return Path(shutil.copytree(tiny_pipeline(family), tmp_path / family))

    return copy


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_each_family_is_told_by_its_configurations(family, tiny_pipeline):
    spec = read(tiny_pipeline(family))

    assert spec.family == EXPECTED_FAMILIES[family]
    assert spec.pipeline_class == FAMILIES[family].pipeline
    assert decode(PipelineSpec, encode(spec), source="here") == spec


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_parameters_are_those_of_the_models_that_diffusers_loads(family, tiny_pipeline):
    import diffusers
    import torch

    folder = tiny_pipeline(family)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **absent(family))
    loaded = {
        name: sum(it.numel() for it in model.parameters())
        for name, model in pipeline.components.items()
        if isinstance(model, torch.nn.Module)
    }
    counted: dict[str, int] = {}
    for it in read(folder).components:
        name = it.folder.removesuffix("_1")  # of ControlNets diffusers makes one module
        counted[name] = counted.get(name, 0) + it.parameters

    if not any(it.role == "encoder" for it in read(folder).components) and "vae" in loaded:
        encoder = (pipeline.vae.encoder, pipeline.vae.quant_conv)
        loaded["vae"] -= sum(it.numel() for part in encoder for it in part.parameters())
    assert counted == loaded


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"consistency", "ddpm", "ddim"}))
def test_generation_is_what_diffusers_would_do(family, tiny_pipeline):
    import diffusers

    folder = tiny_pipeline(family)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, **absent(family))
    generation = read(folder).generation

    assert generation.vae_scale_factor == pipeline.vae_scale_factor
    assert generation.scaling_factor == pipeline.vae.config.scaling_factor
    assert generation.latent_channels == pipeline.vae.config.latent_channels
    denoiser = pipeline.components.get("unet") or pipeline.transformer
    native = denoiser.config.sample_size * pipeline.vae_scale_factor
    assert (generation.width, generation.height) == (native, native)
    assert generation.text_length == TEXT_LENGTHS.get(family, 77)
    # the latent upscaler's denoiser is told the text there, not the guidance
    dim = None if family == "sd-latent-upscale" else denoiser.config.get("time_cond_proj_dim")
    assert generation.guidance_embedding_dim == dim
    for setting in ("force_zeros_for_empty_prompt", "requires_aesthetics_score"):
        assert getattr(generation, setting) == pipeline.config.get(setting, False)


@pytest.mark.parametrize(
    ("family", "name"),
    [(family, name) for family, it in families.FAMILIES.items() for name in it.pipelines],
)
def test_steps_and_guidance_are_the_defaults_of_diffusers(family, name):
    import diffusers

    call = inspect.signature(getattr(diffusers, name).__call__).parameters
    known = families.FAMILIES[family].pipelines[name]

    assert known.steps == call["num_inference_steps"].default
    if families.FAMILIES[family].facts.takes_text:
        behind_a_mask = "Inpaint" in name and known.inpaint_guidance is not None
        guidance = known.inpaint_guidance if behind_a_mask else known.guidance
        assert guidance == call["guidance_scale"].default


def test_the_components_of_stable_diffusion_have_the_names_and_shapes_of_optimum(tiny_pipeline):
    spec = read(tiny_pipeline("sd15"))

    assert [it.name for it in spec.components] == [
        "text_encoder",
        "unet",
        "vae_decoder",
        "vae_encoder",
    ]
    text = component(spec, "text_encoder")
    sequence = ("batch", "sequence", HIDDEN)
    assert [(it.name, it.dtype) for it in text.inputs] == [("input_ids", "int64")]
    assert shapes(text.outputs) == {
        "last_hidden_state": sequence,
        "pooler_output": ("batch", HIDDEN),
        "hidden_states.0": sequence,
        "hidden_states.1": sequence,
        "hidden_states.2": sequence,
    }
    unet = component(spec, "unet")
    latents = ("batch", 4, "height / 2", "width / 2")
    assert shapes(unet.inputs) == {
        "sample": latents,
        "timestep": (),
        "encoder_hidden_states": sequence,
    }
    assert shapes(unet.outputs) == {"out_sample": latents}
    pixels = ("batch", 3, "height", "width")
    decoder, encoder = component(spec, "vae_decoder"), component(spec, "vae_encoder")
    assert (shapes(decoder.inputs), shapes(decoder.outputs)) == (
        {"latent_sample": latents},
        {"sample": pixels},
    )
    assert (shapes(encoder.inputs), shapes(encoder.outputs)) == (
        {"sample": pixels},
        {"latent_parameters": ("batch", 8, "height / 2", "width / 2")},
    )
    assert [it.role for it in spec.components] == ["text_encoder", "denoiser", "decoder", "encoder"]
    assert {it.folder for it in (decoder, encoder)} == {"vae"}


@pytest.mark.parametrize(
    ("family", "time_ids", "width"),
    [("sdxl", 6, HIDDEN + HIDDEN_2), ("sdxl-refiner", 5, HIDDEN_2)],
)
def test_sdxl_takes_a_text_embedding_and_time_ids(family, time_ids, width, tiny_pipeline):
    spec = read(tiny_pipeline(family))

    inputs = shapes(component(spec, "unet").inputs)
    assert inputs["text_embeds"] == ("batch", PROJECTION)
    assert inputs["time_ids"] == ("batch", time_ids)
    assert inputs["encoder_hidden_states"] == ("batch", "sequence", width)
    outputs = shapes(component(spec, "text_encoder_2").outputs)
    assert next(iter(outputs)) == "text_embeds"
    assert outputs["text_embeds"] == ("batch", PROJECTION)
    assert "hidden_states.3" in outputs
    assert "hidden_states.4" not in outputs
    assert ("text_encoder" in {it.name for it in spec.components}) == (family == "sdxl")


def test_a_latent_consistency_model_takes_its_guidance_as_an_embedding(tiny_pipeline):
    spec = read(tiny_pipeline("lcm"))

    assert shapes(component(spec, "unet").inputs)["timestep_cond"] == ("batch", 16)
    assert (spec.generation.steps, spec.generation.guidance) == (4, 8.5)


def test_a_stable_diffusion_pipeline_with_such_a_unet_stays_one_as_in_diffusers(copied):
    folder = copied("lcm")
    change(folder / "model_index.json", _class_name="StableDiffusionPipeline")

    spec = read(folder)
    assert (spec.family, spec.generation.guidance_embedding_dim) == ("stable-diffusion", 16)
    assert (spec.generation.steps, spec.generation.guidance) == (4, 7.5)


def test_a_latent_consistency_model_is_read_from_either_of_its_classes(copied):
    folder = copied("lcm")
    change(folder / "model_index.json", _class_name="LatentConsistencyModelImg2ImgPipeline")

    spec = read(folder)
    assert (spec.family, spec.generation.steps) == ("latent-consistency", 4)


@pytest.mark.parametrize("family", ["sd-inpaint", "sdxl-inpaint"])
def test_an_inpainting_unet_takes_nine_channels(family, tiny_pipeline):
    spec = read(tiny_pipeline(family))

    assert shapes(component(spec, "unet").inputs)["sample"][1] == 9
    assert shapes(component(spec, "unet").outputs)["out_sample"][1] == 4
    assert spec.generation.latent_channels == 4


@pytest.mark.parametrize(
    ("family", "channels", "roles"),
    [
        ("sd-edit", 8, {"encoder", "decoder"}),
        ("sd-upscale", 7, {"decoder"}),
        ("sd-depth", 5, {"encoder", "decoder"}),
    ],
)
def test_a_denoiser_that_sees_a_picture_takes_its_channels_too(
    family, channels, roles, tiny_pipeline
):
    spec = read(tiny_pipeline(family))

    inputs = shapes(component(spec, "unet").inputs)
    assert inputs["sample"][1] == channels
    assert (inputs.get("class_labels") == ("batch",)) == (family == "sd-upscale")
    assert {it.role for it in spec.components} & {"encoder", "decoder"} == roles
    assert spec.facts.needs_picture


def test_a_depth_estimator_is_named_and_not_read(copied):
    folder = copied("sd-depth")
    estimator = ["transformers", "DPTForDepthEstimation"]
    change(folder / "model_index.json", depth_estimator=estimator)

    assert read(folder).extras == ("depth_estimator",)


def test_a_unet_of_class_labels_is_refused_where_nobody_gives_them(copied):
    folder = copied("sd15")
    change(folder / "unet" / "config.json", num_class_embeds=10)

    assert "class labels" in refused(folder).message


def test_an_upscaler_scales_latents_as_diffusers_does_whatever_the_config_says(copied):
    folder = copied("sd-upscale")
    change(folder / "vae" / "config.json", scaling_factor=0.18215)

    assert read(folder).generation.scaling_factor == 0.08333


def test_an_upscaler_is_refused_without_what_adds_its_noise(copied):
    folder = copied("sd-upscale")
    change(folder / "model_index.json", low_res_scheduler=...)

    assert "low_res_scheduler" in refused(folder).message


def test_an_upscaler_is_refused_whose_unet_knows_fewer_levels_of_noise(copied):
    folder = copied("sd-upscale")
    change(folder / "model_index.json", max_noise_level=1000)

    assert "class labels" in refused(folder).message


def test_an_inpainting_pipeline_with_an_ordinary_unet_is_an_ordinary_model(copied):
    folder = copied("sd15")
    change(folder / "model_index.json", _class_name="StableDiffusionInpaintPipeline")

    assert read(folder).family == "stable-diffusion"


def test_a_tiny_autoencoder_encodes_to_latents(tiny_pipeline):
    spec = read(tiny_pipeline("taesd"))

    latents = {"latent_sample": ("batch", 4, "height / 2", "width / 2")}
    assert shapes(component(spec, "vae_encoder").outputs) == latents
    assert spec.generation.scaling_factor == 1.0


def test_an_unconditional_pipeline_works_on_pixels(tiny_pipeline):
    spec = read(tiny_pipeline("ddpm"))

    (unet,) = spec.components
    pixels = ("batch", 3, "height", "width")
    assert shapes(unet.inputs) == {"sample": pixels, "timestep": ()}
    assert shapes(unet.outputs) == {"out_sample": pixels}
    assert spec.generation.vae_scale_factor == 1
    assert spec.generation.text_length is None
    assert (spec.generation.width, spec.generation.height) == (16, 16)


def test_a_whole_clip_in_the_text_encoder_s_file_is_not_counted(copied, tiny_pipeline):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = copied("sd15")
    path = folder / "text_encoder/model.safetensors"
    more = {"vision_model.a": np.zeros(99, np.float32), "logit_scale": np.zeros((), np.float32)}
    save_file(load_file(path) | more, path)

    assert read(folder).components == read(tiny_pipeline("sd15")).components


def test_a_tall_native_size_is_kept(copied):
    folder = copied("sd15")
    change(folder / "unet/config.json", sample_size=[24, 16])

    generation = read(folder).generation

    assert (generation.width, generation.height) == (32, 48)


def test_stable_diffusion_before_diffusers_0_9_is_of_512_pixels_whatever_it_says(copied):
    folder = copied("sd15")
    change(folder / "unet/config.json", _diffusers_version="0.6.0.dev0", sample_size=32)

    assert read(folder).generation.width == 64 * 2


def test_an_autoencoder_without_a_scaling_factor_has_that_of_stable_diffusion(copied):
    folder = copied("sd15")
    change(folder / "vae/config.json", scaling_factor=...)

    assert read(folder).generation.scaling_factor == 0.18215


@pytest.mark.parametrize("length", [..., None, int(1e30), 10_000])
def test_a_prompt_has_at_most_the_positions_of_the_text_encoder(length, copied):
    folder = copied("sd15")
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=length)

    assert read(folder).generation.text_length == 77


def test_a_tokenizer_in_one_file_is_enough(copied):
    folder = copied("sd15")
    (folder / "tokenizer/vocab.json").unlink()
    (folder / "tokenizer/merges.txt").unlink()
    write_json(folder / "tokenizer/tokenizer.json", {"model": {"vocab": {"a": 0}, "merges": []}})

    assert read(folder).generation.text_length == 77


def test_means_of_latents_count_in_sdxl_and_are_not_looked_at_in_stable_diffusion(copied):
    statistics = {"latents_mean": [0.5, 0, -1, 2], "latents_std": [1, 2.0, 3, 4]}
    plain, large, half = (copied(it) for it in ("sd15", "sdxl", "sdxl-inpaint"))
    for folder in (plain, large):
        change(folder / "vae/config.json", **statistics)
    change(half / "vae/config.json", latents_mean=statistics["latents_mean"])

    assert read(plain).generation.latents_mean is None
    assert read(large).generation.latents_mean == (0.5, 0.0, -1.0, 2.0)
    assert read(large).generation.latents_std == (1.0, 2.0, 3.0, 4.0)
    assert read(half).generation.latents_mean is None  # diffusers wants both


def test_a_unet_that_projects_the_states_of_the_text_takes_them_as_they_are(copied):
    folder = copied("sd15")
    change(
        folder / "unet/config.json",
        encoder_hid_dim=HIDDEN,
        encoder_hid_dim_type="text_proj",
        cross_attention_dim=24,
    )

    inputs = shapes(component(read(folder), "unet").inputs)

    assert inputs["encoder_hidden_states"] == ("batch", "sequence", HIDDEN)


def test_a_text_encoder_that_was_saved_as_a_whole_clip_model_is_read_by_its_part(copied):
    folder = copied("sd15")
    path = folder / "text_encoder/config.json"
    of_text = json.loads(path.read_text())
    write_json(path, {"model_type": "clip", "text_config": of_text, "vision_config": {}})

    assert component(read(folder), "text_encoder").parameters > 0


def test_layers_that_clip_skip_leaves_out_do_not_count(copied):
    whole = copied("sd15")
    before = component(read(whole), "text_encoder").parameters
    change(whole / "text_encoder/config.json", num_hidden_layers=1)

    text = component(read(whole), "text_encoder")

    assert text.parameters < before
    assert "hidden_states.2" not in shapes(text.outputs)


@pytest.mark.parametrize(
    "name", ["model_index.json", "unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"]
)
def test_a_pointer_of_git_lfs_says_what_to_run(name, copied):
    folder = copied("sd15")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")

    error = refused(folder)

    assert name in error.message
    assert "git lfs pull" in error.hint


def test_json_is_read_as_python_reads_it(copied):
    folder = copied("sd15")
    path = folder / "scheduler/scheduler_config.json"
    text = path.read_text().strip().removesuffix("}")
    path.write_text(
        f'{text}, "lambda_min_clipped": -Infinity, "steps_offset": NaN, "a": 1, "a": 2}}'
    )

    assert read(folder).family == "stable-diffusion"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"vocab.json": {str(n): n for n in range(250_001)}}, "250,001 tokens in its vocabulary"),
        ({"added_tokens.json": {f"<{n}>": n for n in range(10_001)}}, "10,001 added tokens"),
        ({"vocab.json": {"a" * 1001: 0}}, "1,001 letters in one token"),
        ({"tokenizer.json": {"model": {"type": "Unigram"}}}, "no byte-pair encoding"),
        (
            {
                "tokenizer.json": {
                    "model": {"vocab": {"a": 0}, "merges": []},
                    "pre_tokenizer": {"pattern": {"Regex": "((a{1,999}){1,999}){1,999}"}},
                }
            },
            "a pattern that may take hours",
        ),
    ],
    ids=["vocabulary", "added tokens", "a long token", "another kind", "a pattern"],
)
def test_a_tokenizer_that_would_take_hours_is_refused(files, words, copied):
    folder = copied("sd15")
    for name, content in files.items():
        write_json(folder / "tokenizer" / name, content)

    assert words in refused(folder).message


def test_optional_components_that_are_there_are_named_and_left_out(copied):
    folder = copied("sd15")
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    change(
        folder / "model_index.json",
        safety_checker=checker,
        feature_extractor=["transformers", "CLIPImageProcessor"],
    )

    spec = read(folder)

    assert spec.extras == ("feature_extractor", "safety_checker")
    assert len(spec.components) == 4


def test_optional_components_that_an_old_index_does_not_mention_are_not_missed(copied):
    folder = copied("sd15")
    change(
        folder / "model_index.json",
        safety_checker=...,
        feature_extractor=...,
        image_encoder=...,
        requires_safety_checker=...,
    )

    assert read(folder).extras == ()


def test_the_scheduler_s_class_is_told(tiny_pipeline):
    assert read(tiny_pipeline("sdxl")).scheduler.class_name == "EulerDiscreteScheduler"


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    error = refused(tmp_path)

    assert str(tmp_path) in error.message
    assert "model_index.json" in error.message


def test_a_component_s_folder_is_recognised(tiny_pipeline):
    assert "one component of a pipeline" in refused(tiny_pipeline("sd15") / "unet").hint


def test_the_folder_above_a_pipeline_names_the_pipeline(tiny_pipeline):
    folder = tiny_pipeline("sd15")

    assert "Did you mean" in refused(folder.parent).hint


def test_a_package_of_edgegen_is_recognised(tmp_path):
    (tmp_path / "edgegen.json").write_text("{}")

    assert "packaged already" in refused(tmp_path).hint


def test_a_folder_with_a_checkpoint_says_to_give_that(tmp_path):
    (tmp_path / "dreamshaper.safetensors").touch()

    hint = refused(tmp_path).hint

    assert "dreamshaper.safetensors" in hint
    assert "whole model" in hint


def test_an_unknown_pipeline_class_is_answered_with_the_nearest(copied):
    folder = copied("sd15")
    change(folder / "model_index.json", _class_name="StableDifusionPipeline")

    error = refused(folder)

    assert "StableDifusionPipeline" in error.message
    assert "Did you mean 'StableDiffusionPipeline'?" in error.hint
    assert "DDPMPipeline" in error.hint


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("model_index.json", {"_class_name": ...}, "pipeline class ''"),
        ("model_index.json", {"_class_name": 3}, "'_class_name' is 3, not a string"),
        ("model_index.json", {"vae": ...}, "has no vae"),
        ("model_index.json", {"unet": [None, None]}, "has no unet"),
        ("model_index.json", {"text_encoder": [None, None]}, "has no text_encoder"),
        ("model_index.json", {"tokenizer": [None, None]}, "has no tokenizer"),
        ("model_index.json", {"scheduler": ...}, "has no scheduler"),
        ("model_index.json", {"vae": ["diffusers", "AsymmetricVAE"]}, "'AsymmetricVAE'"),
        (
            "model_index.json",
            {"unet": ["diffusers", "UNet2DModel"]},
            "takes a UNet2DConditionModel",
        ),
        ("model_index.json", {"text_encoder": ["transformers", "T5Model"]}, "'T5Model'"),
        ("model_index.json", {"unet": ["diffusers"]}, "not a library and a class"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "that of a AutoencoderKL"),
        ("unet/config.json", {"in_channels": 8}, "takes 8 channels, the autoencoder makes 4"),
        ("unet/config.json", {"in_channels": "4"}, "'in_channels' is '4', not a positive integer"),
        ("unet/config.json", {"in_channels": 0}, "'in_channels' is 0"),
        ("unet/config.json", {"in_channels": True}, "'in_channels' is True"),
        ("unet/config.json", {"sample_size": None}, "lacks the key 'sample_size'"),
        ("unet/config.json", {"sample_size": [8]}, "not a height and a width"),
        ("unet/config.json", {"cross_attention_dim": 768}, "text encoders give 32"),
        ("unet/config.json", {"class_embed_type": "timestep"}, "takes class labels"),
        ("unet/config.json", {"num_class_embeds": 1000}, "takes class labels"),
        ("unet/config.json", {"encoder_hid_dim_type": "ip_image_proj"}, "image as a prompt"),
        ("unet/config.json", {"addition_embed_type": "image"}, "'addition_embed_type' 'image'"),
        ("vae/config.json", {"block_out_channels": ...}, "lacks the key 'block_out_channels'"),
        ("vae/config.json", {"block_out_channels": []}, "'block_out_channels' is []"),
        ("vae/config.json", {"scaling_factor": 0}, "'scaling_factor' is 0"),
        ("vae/config.json", {"scaling_factor": float("nan")}, "'scaling_factor' is nan"),
        ("vae/config.json", {"scaling_factor": 10**400}, "'scaling_factor' is 1000"),
        ("vae/config.json", {"block_out_channels": [8] * 17}, "at most 16 entries"),
        ("vae/config.json", {"latent_channels": 10**30}, "a number up to 16,777,216"),
        ("unet/config.json", {"sample_size": 10**6}, "more than 8192 pixels a side"),
        ("unet/config.json", {"layers_per_block": 10**9}, "a number up to"),
        (
            "unet/config.json",
            {"layers_per_block": 40, "transformer_layers_per_block": [1, 40]},
            "blocks of 1,600 layers",
        ),
        ("unet/config.json", {"quantization_config": {"load_in_8bit": True}}, "are quantized"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**5}, "blocks of 100,000 layers"),
        ("unet/config.json", {"x": [[0] * 2000]}, "at most 1,024 entries"),
        (
            "model_index.json",
            {"_class_name": ["pipeline_lpw", "LongPromptPipeline"]},
            "LongPromptPipeline of the module pipeline_lpw, a community pipeline",
        ),
        (
            "model_index.json",
            {"unet": ["my_unet", "UNet2DConditionModel"]},
            "of the module my_unet, which is code that came with the model",
        ),
        (
            "model_index.json",
            {"scheduler": ["my_scheduler", "DDIMScheduler"]},
            "of the module my_scheduler, which is code that came with the model",
        ),
        (
            "model_index.json",
            {"text_encoder": ["transformers", "CLIPTextModelWithProjection"]},
            "in diffusers neither: it takes a CLIPTextModel",
        ),
        ("text_encoder/config.json", {"hidden_size": ...}, "lacks the key 'hidden_size'"),
    ],
)
def test_an_index_or_a_configuration_that_cannot_be_used_is_named(file, changes, words, copied):
    folder = copied("sd15")
    change(folder / file, **changes)

    error = refused(folder)

    assert words in error.message
    assert str(folder) in error.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"projection_class_embeddings_input_dim": 73}, "5 or 6 times 8"),
        ({"projection_class_embeddings_input_dim": 24 + 32}, "5 or 6 times 8"),
        ({"addition_time_embed_dim": None}, "lacks the key 'addition_time_embed_dim'"),
    ],
)
def test_added_conditions_that_do_not_add_up_are_named(changes, words, copied):
    folder = copied("sdxl")
    change(folder / "unet/config.json", **changes)

    assert words in refused(folder).message


@pytest.mark.parametrize(
    "file",
    [
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ],
)
def test_a_missing_file_is_named(file, copied):
    folder = copied("sd15")
    (folder / file).unlink()

    message = refused(folder).message

    assert str(folder / Path(file).parent) in message
    assert Path(file).name in message


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', "\xff"])
@pytest.mark.parametrize("file", ["model_index.json", "unet/config.json"])
def test_a_file_that_is_not_a_json_object_is_named(file, text, copied):
    folder = copied("sd15")
    (folder / file).write_bytes(text.encode("latin-1"))

    assert str(folder / file) in refused(folder).message


def test_a_truncated_safetensors_file_is_named_with_both_sizes(copied):
    folder = copied("sd15")
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 100)

    message = refused(folder).message

    assert str(path) in message
    assert f"{size:,}" in message
    assert f"{size - 100:,}" in message


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: openrail++\ntags: [a]\n---\n# Card\n", "openrail++"),
        ("---\nlicense: 'mit'  # ours\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: sai-nc-community\n---\n", "sai-nc-community"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\r\nlicense: apache-2.0\r\n---\r\n", "apache-2.0"),
        ("\ufeff---\nlicense: mit\n---\n", "mit"),
        ("# Card\nlicense: mit\n", None),
        ("---\nlicense: mit\n", None),
        ("", None),
    ],
)
def test_the_licence_is_that_of_the_card_s_front_matter(card, expected, copied):
    folder = copied("ddpm")
    (folder / "README.md").write_bytes(card.encode())

    assert read(folder).licence == expected


def test_without_a_card_the_licence_is_told_by_its_text(copied):
    folder = copied("ddpm")
    (folder / "LICENSE.md").write_text("Copyright\n\nCreativeML Open RAIL-M\ndated August 22\n")

    assert read(folder).licence == "creativeml-openrail-m"


def test_without_a_card_or_a_text_the_licence_is_not_known(copied):
    assert read(copied("ddpm")).licence is None


def test_licence_files_are_found_whatever_their_spelling(tmp_path):
    from edgegen.models.licences import licence_files

    kept = ["LICENSE", "LICENSE-MIT", "Licence.txt", "NOTICE", "license_SD.md"]
    for name in [*kept, "README.md", "licenses.json", "model_index.json"]:
        (tmp_path / name).touch()
    (tmp_path / "LICENSES").mkdir()

    assert [path.name for path in licence_files(tmp_path)] == sorted(kept)


MEASURE = """
import contextlib, io, json, re, sys
from edgegen.cli.main import run
out = io.StringIO()
with contextlib.redirect_stdout(out):
    code = run(["inspect", sys.argv[1], "--json"])
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
heavy = sorted({"torch", "diffusers", "transformers", "onnx"} & set(sys.modules))
answer = {"code": code, "peak": peak, "heavy": heavy, "spec": json.loads(out.getvalue())}
sys.stdout.write(json.dumps(answer))
"""


def test_a_whole_sdxl_is_inspected_within_150_mb_and_without_torch(tmp_path):
    from benchmarks.full_size_models import sdxl_full

    folder = sdxl_full(tmp_path / "sdxl", shard_bytes=2 << 30, sparse=True)
    command = [sys.executable, "-c", MEASURE, str(folder)]

    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    assert answer["code"] == 0
    assert answer["heavy"] == []
    assert answer["peak"] < 150 << 20
    parameters = {
        it["spec"]["name"]: it["spec"]["parameters"] for it in answer["spec"]["components"]
    }
    assert parameters["unet"] == 2_567_463_684
    assert parameters["text_encoder_2"] == 694_659_840
    assert answer["spec"]["pipeline"]["generation"]["width"] == 1024
