"""Parameters find their tensors under the names of every age, or an error names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgegen.core.errors import SourceError
from edgegen.models.binding import BoundTensor, bind, unused_keys
from edgegen.models.weights import Weights
from edgegen.networks import NETWORKS
from edgegen.networks.base import KeyRules

Shapes = dict[str, tuple[int, ...]]
ATTENTION = "decoder.mid_block.attentions.0"
TEXT = NETWORKS["CLIPTextModel"].keys
PROJECTED = NETWORKS["CLIPTextModelWithProjection"].keys
UNET = NETWORKS["UNet2DConditionModel"].keys
VAE = NETWORKS["AutoencoderKL"].keys


def weights_of(folder: Path, shapes: dict[str, tuple[int, ...]]) -> Weights:
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    return Weights.open(folder)


def bind_text(weights: Weights, expected: Shapes) -> Mapping[str, BoundTensor]:
    return bind(weights, expected, TEXT)


def keys(weights: Weights, expected: Shapes) -> dict[str, str]:
    return {name: tensor.key for name, tensor in bind_text(weights, expected).items()}


def refused(weights: Weights, expected: dict[str, tuple[int, ...]]) -> SourceError:
    with pytest.raises(SourceError) as caught:
        bind(weights, expected, PROJECTED)
    assert str(weights.folder) in caught.value.message
    assert caught.value.hint
    return caught.value


def rules_of(folder: Path, name: str) -> KeyRules:
    """Return the rules of the network in a pipeline's slot."""
    _, class_name = json.loads((folder / "model_index.json").read_text())[name]
    return NETWORKS[class_name].keys


def meta_parameters(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of a tiny pipeline's component, as its library builds it."""
    import diffusers
    import torch
    import transformers

    index = json.loads((folder / "model_index.json").read_text())
    library, class_name = index[name]
    with torch.device("meta"):
        if library == "diffusers":
            config = json.loads((folder / name / "config.json").read_text())
            model = getattr(diffusers, class_name).from_config(config)
        else:
            config = transformers.CLIPTextConfig.from_pretrained(folder / name)
            model = getattr(transformers, class_name)(config)
    return {key: tuple(it.shape) for key, it in model.named_parameters()}


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("sd15", ("text_encoder", "unet", "vae")),
        ("sd21", ("text_encoder", "unet")),
        ("sdxl", ("text_encoder", "text_encoder_2", "unet")),
        ("sdxl-refiner", ("text_encoder_2", "unet")),
        ("taesd", ("vae",)),
        ("lcm", ("unet",)),
        ("ddpm", ("unet",)),
        ("ddim", ("unet",)),
    ],
)
def test_every_parameter_of_every_family_is_bound_to_a_tensor_of_its_size(
    family, names, tiny_pipeline
):
    folder = tiny_pipeline(family)
    for name in names:
        expected = meta_parameters(folder, name)

        bound = bind(Weights.open(folder / name), expected, rules_of(folder, name))

        assert list(bound) == list(expected)
        for parameter, tensor in bound.items():
            assert tensor.parameter == parameter
            assert tensor.shape == expected[parameter]
            assert tensor.entry.elements == int(np.prod(tensor.shape))


@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae"])
def test_the_bound_tensors_are_those_that_the_library_loads(component, tiny_pipeline):
    import diffusers

    folder = tiny_pipeline("sd15")
    model = getattr(diffusers.StableDiffusionPipeline.from_pretrained(folder), component)
    expected = {name: tuple(it.shape) for name, it in model.named_parameters()}
    weights = Weights.open(folder / component)

    for name, tensor in bind(weights, expected, rules_of(folder, component)).items():
        loaded = model.get_parameter(name).detach().numpy()
        assert np.array_equal(weights.array(tensor.key).reshape(tensor.shape), loaded), name


def test_text_model_prefixes_are_dropped_where_the_model_has_none(tmp_path):
    weights = weights_of(tmp_path, {"text_model.embeddings.token_embedding.weight": (9, 4)})

    found = keys(weights, {"embeddings.token_embedding.weight": (9, 4)})

    assert found == {
        "embeddings.token_embedding.weight": "text_model.embeddings.token_embedding.weight"
    }


def test_text_model_prefixes_are_added_where_the_model_has_one(tmp_path):
    weights = weights_of(tmp_path, {"final_layer_norm.weight": (4,)})

    found = keys(weights, {"text_model.final_layer_norm.weight": (4,)})

    assert found == {"text_model.final_layer_norm.weight": "final_layer_norm.weight"}


@pytest.mark.parametrize("key", ["position_ids", "text_model.embeddings.position_ids"])
def test_position_ids_are_left_out(key, tmp_path):
    weights = weights_of(tmp_path, {"a": (1,), key: (1, 77)})

    assert keys(weights, {"a": (1,)}) == {"a": "a"}


def test_what_a_whole_clip_has_beside_its_text_encoder_is_left_out(tmp_path):
    token = "text_model.embeddings.token_embedding.weight"
    others = ["logit_scale", "vision_model.post_layernorm.weight", "visual_projection.weight"]
    shapes = dict.fromkeys([token, *others, "text_projection.weight"], (4, 4))

    weights = weights_of(tmp_path, shapes)

    assert keys(weights, {"embeddings.token_embedding.weight": (4, 4)}) == {
        "embeddings.token_embedding.weight": token
    }


def test_a_text_projection_is_bound_where_the_model_has_one(tmp_path):
    shapes = {
        "text_model.embeddings.token_embedding.weight": (9, 4),
        "text_projection.weight": (6, 4),
    }

    assert keys(weights_of(tmp_path, shapes), shapes) == {name: name for name in shapes}


def test_a_text_projection_that_is_missing_is_named(tmp_path):
    token = "text_model.embeddings.token_embedding.weight"
    weights = weights_of(tmp_path, {token: (9, 4)})

    message = refused(weights, {token: (9, 4), "text_projection.weight": (6, 4)}).message

    assert "parameter has no key: 'text_projection.weight'" in message


def test_a_logit_scale_in_a_unet_is_no_part_of_clip_and_is_named(tmp_path):
    weights = weights_of(tmp_path, {"conv_in.weight": (4,), "logit_scale": (1,)})

    bound = bind(weights, {"conv_in.weight": (4,)}, UNET)

    assert unused_keys(weights, bound, UNET) == ("logit_scale",)


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_layers_after_those_of_the_config_are_left_out_as_in_transformers(prefix, tmp_path):
    token = "embeddings.token_embedding.weight"
    layers = [f"{prefix}encoder.layers.{n}.mlp.fc1.bias" for n in (0, 1, 2, 10)]
    weights = weights_of(tmp_path, {f"{prefix}{token}": (9, 4), **dict.fromkeys(layers, (4,))})
    expected = {f"{prefix}{token}": (9, 4), layers[0]: (4,), layers[1]: (4,)}

    bound = bind_text(weights, expected)

    assert bound.keys() == expected.keys()
    assert unused_keys(weights, bound, TEXT) == ()  # it is known why


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1, 1)], ids=["linear", "convolution"])
def test_the_autoencoder_s_old_attention_is_bound_to_the_new(shape, tmp_path):
    renamed = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    old = {f"{ATTENTION}.{name}.weight": shape for name in renamed}
    old |= {f"{ATTENTION}.{name}.bias": (8,) for name in renamed}
    expected = {f"{ATTENTION}.{name}.weight": (8, 8) for name in renamed.values()}
    expected |= {f"{ATTENTION}.{name}.bias": (8,) for name in renamed.values()}

    bound = bind(weights_of(tmp_path, old), expected, VAE)

    assert bound[f"{ATTENTION}.to_q.weight"].key == f"{ATTENTION}.query.weight"
    assert bound[f"{ATTENTION}.to_out.0.bias"].key == f"{ATTENTION}.proj_attn.bias"
    assert {tensor.shape for tensor in bound.values()} == {(8, 8), (8,)}


def test_an_autoencoder_of_old_names_holds_what_diffusers_makes_of_it(tiny_pipeline, tmp_path):
    import diffusers

    folder = tiny_pipeline("sd15") / "vae"
    new = load_file(folder / "diffusion_pytorch_model.safetensors")
    pairs = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]

    def old_name(name: str) -> str:
        for after, before in pairs:
            name = name.replace(f"attentions.0.{after}.", f"attentions.0.{before}.")
        return name

    old = {old_name(name): tensor for name, tensor in new.items()}
    assert old.keys() != new.keys()
    save_file(old, tmp_path / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    model = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    weights = Weights.open(tmp_path)

    expected = {name: tuple(it.shape) for name, it in model.named_parameters()}
    bound = bind(weights, expected, VAE)

    for name, tensor in bound.items():
        loaded = model.get_parameter(name).detach().numpy()
        assert np.array_equal(weights.array(tensor.key).reshape(tensor.shape), loaded), name


def test_a_linear_layer_is_bound_to_a_convolution_of_one_pixel(tmp_path):
    weights = weights_of(tmp_path, {"proj_in.weight": (4, 6)})

    bound = bind(weights, {"proj_in.weight": (4, 6, 1, 1)}, UNET)

    assert bound["proj_in.weight"].shape == (4, 6, 1, 1)


def test_keys_that_match_nothing_are_named_where_a_parameter_is_missing(tmp_path):
    weights = weights_of(tmp_path, {"a": (1,), "lora_up.weight": (1,)})

    error = refused(weights, {"a": (1,), "b": (1,)})

    assert "key matches nothing: 'lora_up.weight'" in error.message
    assert "LoRA" in error.hint


def test_a_parameter_that_shares_its_tensor_is_bound_to_the_same_key(tmp_path):
    weights = weights_of(tmp_path, {"shared.weight": (9, 4)})
    rules = KeyRules(tied={"embed_tokens.weight": "shared.weight"})
    expected = {"shared.weight": (9, 4), "embed_tokens.weight": (9, 4)}

    bound = bind(weights, expected, rules)

    assert {tensor.key for tensor in bound.values()} == {"shared.weight"}
    assert bound.keys() == expected.keys()


def test_of_two_keys_for_one_parameter_the_exact_one_is_taken(tmp_path):
    weights = weights_of(tmp_path, {"a": (1,), "text_model.a": (1,)})

    bound = bind_text(weights, {"a": (1,)})

    assert bound["a"].key == "a"
    assert unused_keys(weights, bound, TEXT) == ("text_model.a",)


WRAPPED = {
    "compiled": ("_orig_mod.{}", "_orig_mod.{}"),
    "a compiled block": ("{}", "blocks._orig_mod.{}"),
    "data parallel": ("module.{}", "module.{}"),
    "both": ("module._orig_mod.{}", "module._orig_mod.{}"),
    "peft": ("base_model.model.{}", "base_model.model.blocks.{}"),
    "fsdp": ("_fsdp_wrapped_module.{}", "blocks._fsdp_wrapped_module.{}"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_a_wrapper_put_into_keys_is_taken_out(name, tmp_path):
    first, second = WRAPPED[name]
    inner = second if "blocks" in second else second.replace("{}", "blocks.{}")
    stored = {first.format("conv.weight"): (4,), inner.format("0.to_q.base_layer.weight"): (2,)}

    weights = weights_of(tmp_path, stored)

    assert set(weights.entries) == {"conv.weight", "blocks.0.to_q.weight"}


def test_an_adapter_that_is_not_merged_is_refused_by_its_cause(tmp_path):
    stored = {"to_q.base_layer.weight": (4, 4), "to_q.lora_A.default.weight": (2, 4)}

    with pytest.raises(SourceError, match="not merged") as caught:
        weights_of(tmp_path, stored)

    assert "fuse_lora" in caught.value.hint


def test_two_keys_that_a_wrapper_made_of_one_are_refused(tmp_path):
    with pytest.raises(SourceError, match="'a' more than once"):
        weights_of(tmp_path, {"a": (1,), "_orig_mod.a": (1,)})


def test_a_parameter_without_a_key_is_named(tmp_path):
    message = refused(weights_of(tmp_path, {"a": (1,)}), {"a": (1,), "b": (2,)}).message

    assert "parameter has no key: 'b'" in message


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [((4, 6), (6, 4)), ((4, 6), (24,)), ((4, 6, 3, 3), (4, 6)), ((1, 1, 4, 6), (4, 6))],
)
def test_a_shape_that_disagrees_is_named_with_both_shapes(stored, wanted, tmp_path):
    message = refused(weights_of(tmp_path, {"a": stored}), {"a": wanted}).message

    assert f"shape disagrees: 'a' has {stored}, not {wanted}" in message


def test_many_mismatches_are_counted_and_the_first_are_named(tmp_path):
    weights = weights_of(tmp_path, {f"key{i}": (1,) for i in range(9)})

    message = refused(weights, {f"parameter{i}": (1,) for i in range(1200)}).message

    assert "1,200 parameters have no key: 'parameter0', 'parameter1', 'parameter2'" in message
    assert "and 1,197 more" in message
    assert "9 keys match nothing: 'key0', 'key1', 'key2' and 6 more" in message
