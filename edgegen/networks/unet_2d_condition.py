"""UNet2DConditionModel: Stable Diffusion's denoiser, and its optional conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks import feature_cache, image_prompt, probes, residuals, unet
from edgegen.networks.base import (
    Caching,
    Denoiser,
    Neighbours,
    Part,
    Probe,
    Probing,
    Signature,
    Tensors,
    scaled,
    tensor,
)
from edgegen.networks.ldm_names import ldm_names

_TAKE_A_SIZE = frozenset({"CrossAttnUpBlock2D", "UpBlock2D"})
"""Blocks that upsample to the size of the skip they are joined with."""
_AESTHETIC_SCORES = (6.0, 2.5)
_BLOCKS = ("down_block_types", "up_block_types")
_OF_TEXT = "text"
"""The 'addition_embed_type' that pools the states of the text (DeepFloyd IF)."""
_CROSS_ATTENTION = "CrossAttn"
"""In the names of all blocks that read the states of the text."""


def _signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    unet.refuse_conditions(config)
    height, width = (scaled(axis, neighbours.scale) for axis in ("height", "width"))
    inputs = [
        tensor("sample", "batch", _taken(config), height, width),
        tensor("timestep"),
        *text_inputs(config, neighbours),
    ]
    guidance = _guidance_width(config)
    if guidance is not None:
        inputs.append(tensor("timestep_cond", "batch", guidance))
    inputs += unet.labels_of(config)
    prompt = image_prompt.image_prompt_of(config.data, str(config.path))
    if prompt is not None:
        inputs.append(tensor(image_prompt.TOKENS, "batch", prompt.tokens, prompt.width))
    inputs += residuals.taken(config, neighbours.scale, neighbours.steering)
    return tuple(inputs), (tensor("out_sample", "batch", _predicted(config), height, width),)


def text_inputs(config: ComponentConfig, neighbours: Neighbours) -> tuple[TensorSpec, ...]:
    """Return the inputs that say what is drawn: the states of a text and, with SDXL, more."""
    states = tensor("encoder_hidden_states", "batch", "sequence", _cross_attention(config))
    added, pooled = config.optional_text("addition_embed_type"), neighbours.pooled_width
    if added == "text_time" and pooled is not None:
        time_ids = tensor("time_ids", "batch", _time_ids(config, pooled))
        return states, tensor("text_embeds", "batch", pooled), time_ids
    if added not in (None, _OF_TEXT):
        raise SourceError(
            f"{config.path}: edgegen cannot feed 'addition_embed_type' {added!r} to this UNet.",
            hint="It supports 'text_time' where a text encoder has a projection (SDXL), 'text', "
            "which reads the states of the text, or none.",
        )
    return (states,)


def _time_ids(config: ComponentConfig, pooled: int) -> int:
    """Return how many numbers SDXL's `time_ids` has: six, or five for a refiner."""
    together = config.integer("projection_class_embeddings_input_dim")
    each = config.integer("addition_time_embed_dim")
    count, rest = divmod(together - pooled, each)
    if rest or count not in (5, 6):
        raise SourceError(
            f"{config.path}: 'projection_class_embeddings_input_dim' is {together}, which is not "
            f"{pooled} (the text embedding) and 5 or 6 times {each}.",
            hint="Take the UNet and the text encoders from the same version of the model.",
        )
    return count


def _cross_attention(config: ComponentConfig) -> int:
    kind = config.data.get("encoder_hid_dim_type")
    if kind not in (None, "text_proj"):
        raise SourceError(
            f"{config.path}: 'encoder_hid_dim_type' is {kind!r}: this UNet takes an image as a "
            "prompt, which edgegen cannot feed.",
            hint="It supports 'text_proj', which projects the states of the text, or none.",
        )
    if config.data.get("encoder_hid_dim") is not None:
        return config.integer("encoder_hid_dim")
    if kind is not None:
        raise SourceError(
            f"{config.path}: 'encoder_hid_dim_type' is {kind!r} without an 'encoder_hid_dim'.",
            hint="Add the width of the text encoders' states.",
        )
    value = _text_width(config)[1]
    if type(value) is int and value > 0:
        return value
    return config.integer("cross_attention_dim", 1280)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    with feature_cache.overheard(network) as heard:
        prediction = network(
            inputs["sample"],
            inputs["timestep"],
            inputs["encoder_hidden_states"],
            class_labels=inputs.get(unet.LABELS),
            timestep_cond=inputs.get("timestep_cond"),
            added_cond_kwargs=added_conditions(inputs) or None,
            return_dict=False,
            **residuals.given_to(inputs),
        )[0]
    return {"out_sample": prediction, **heard}


def _shallow_forward(network: Any, inputs: Tensors) -> Tensors:
    """Compute the layers that every step computes, as `UNet2DConditionModel.forward` does."""
    sample, text = inputs["sample"], inputs.get("encoder_hidden_states")
    added = added_conditions(inputs)
    if network.config.center_input_sample:
        sample = 2 * sample - 1.0
    moment = network.get_time_embed(sample=sample, timestep=inputs["timestep"])
    embedding = network.time_embedding(moment, inputs.get("timestep_cond"))
    of_class = network.get_class_embed(sample=sample, class_labels=inputs.get(unet.LABELS))
    if of_class is not None:
        embedding = embedding + of_class
    more = network.get_aug_embed(embedding, text, added)
    if more is not None:
        embedding = embedding + more
    if network.time_embed_act is not None:
        embedding = network.time_embed_act(embedding)
    if text is not None:
        text = network.process_encoder_hidden_states(text, added)
    prediction = feature_cache.last_layer(
        network, inputs[feature_cache.FEATURES], network.conv_in(sample), embedding, text
    )
    return {"out_sample": prediction}


def added_conditions(inputs: Tensors) -> Tensors:
    """Return what a UNet is told besides the text: SDXL's sizes, an IP-Adapter's picture."""
    names = ("text_embeds", "time_ids", image_prompt.TOKENS)
    return {name: inputs[name] for name in names if name in inputs}


def _shallow_prefixes(config: ComponentConfig) -> tuple[str, ...]:
    of_text = ("encoder_hid_proj.",) if feature_cache.reads_text(config) else ()
    return (*feature_cache.shallow_prefixes(config), "add_embedding.", "class_embedding.", *of_text)


def _shallow_signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    inputs, outputs = feature_cache.shallow_signature(_signature)(config, neighbours)
    unread = set()
    if not feature_cache.reads_text(config):
        unread = {"encoder_hidden_states", image_prompt.TOKENS}
        if config.data.get("addition_embed_type") == _OF_TEXT:
            unread.remove("encoder_hidden_states")
    return tuple(it for it in inputs if it.name not in unread), outputs


def _probe_time_ids(probing: Probing, _tensor: TensorSpec, shape: tuple[int, ...]) -> Any:
    """Return sizes and crops as SDXL takes them, another crop and score for each sample."""
    import torch

    batch, count = shape
    size = (probing.height, probing.width)
    rows = []
    for index in range(batch):
        last = size if count == 6 else (_AESTHETIC_SCORES[index % 2],)
        rows.append([float(value) for value in (*size, 16 * index, 0, *last)])
    return torch.tensor(rows)


_PROBES: Mapping[str, Probe] = {
    "sample": probes.noise,
    "timestep": probes.condition_timestep,
    "encoder_hidden_states": probes.text,
    "text_embeds": probes.text,
    "time_ids": _probe_time_ids,
    "timestep_cond": probes.guidance_embedding,
    unet.LABELS: probes.labels,
    image_prompt.TOKENS: probes.noise,  # they end with a layer norm
    feature_cache.FEATURES: probes.features,
}


def probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    """Return an input of a probe; what another network steers with is that network's."""
    return _PROBES.get(spec.name, probes.steering)(probing, spec, shape)


def _taken(config: ComponentConfig) -> int:
    return config.integer("in_channels", 4)


def _predicted(config: ComponentConfig) -> int:
    return config.integer("out_channels", 4)


def _guidance_width(config: ComponentConfig) -> int | None:
    return config.optional_integer("time_cond_proj_dim")


def _text_width(config: ComponentConfig) -> tuple[str, Any]:
    """Return the width of the text's states; with `encoder_hid_dim` they are projected first."""
    if config.data.get("encoder_hid_dim") is not None:
        return "encoder_hid_dim", config.data["encoder_hid_dim"]
    key = "cross_attention_dim"
    value = config.data.get(key, 1280)
    if not isinstance(value, list) or not value:
        return key, value
    widths = {*map(str, _read_widths(config, value))}
    if len(widths) > 1:
        raise SourceError(
            f"{config.path}: '{key}' is {value}: blocks of this UNet read states of different "
            "widths, and a pipeline gives one.",
            hint="Blocks without cross-attention may have any width; give the others one.",
        )
    return key, _read_widths(config, value)[0] if widths else value[0]


def _read_widths(config: ComponentConfig, widths: Sequence[Any]) -> list[Any]:
    """Return the `cross_attention_dim` of the levels that read the states of the text."""
    up, down = config.items("up_block_types"), config.items("down_block_types")
    read = [
        width
        for blocks, ordered in ((down, widths), (up, [*reversed(widths)]))
        for block, width in zip(blocks, ordered, strict=False)
        if _CROSS_ATTENTION in str(block)
    ]
    middle = config.data.get("mid_block_type", "UNetMidBlock2DCrossAttn")
    return [*read, widths[-1]] if _CROSS_ATTENTION in str(middle) else read


def _native_size(config: ComponentConfig, scale: int) -> tuple[int, int]:
    width, height = unet.sample_size(config, scale)
    if (
        isinstance(config.data.get("sample_size"), int)
        and width < 64
        and _is_older_than_0_9(config)
    ):
        return 64, 64  # as StableDiffusionPipeline does: Stable Diffusion 1.1 to 1.4 say 32
    return width, height


def _is_older_than_0_9(config: ComponentConfig) -> bool:
    version = re.match(r"(\d+)\.(\d+)", config.text("_diffusers_version", ""))
    return (
        version is not None
        and config.data.get("_class_name") == "UNet2DConditionModel"
        and (int(version[1]), int(version[2])) < (0, 9)
    )


def _multiple(config: ComponentConfig) -> int:
    """Return 1 where all blocks that upsample are handed the sizes of their skips.

    diffusers does so (`forward_upsample_size`), but not every block looks at it.
    """
    given = config.data.get("up_block_types")
    blocks = [str(name).removeprefix(unet.OLD_PREFIX) for name in given or ()]
    return 1 if _TAKE_A_SIZE.issuperset(blocks[:-1]) else unet.reduction(config)


def _complete(network: Any, config: Mapping[str, Any]) -> None:
    """Add an IP-Adapter to a UNet whose config has one."""
    prompt = image_prompt.image_prompt_of(config, "config.json")
    if prompt is not None:
        image_prompt.attach(network, prompt)


def _check(config: ComponentConfig) -> None:
    """Refuse what diffusers builds and cannot run, or what needs an input that no pipeline has."""
    blocks = [str(it) for key in _BLOCKS for it in config.data.get(key) or ()]
    of_k = [it for it in blocks if it.startswith("K")]
    if of_k and len(of_k) < len(blocks):
        other = next(it for it in blocks if it not in of_k)
        raise SourceError(
            f"{config.path}: '{of_k[0]}' beside '{other}': blocks of K-diffusion leave other "
            "features for the way up, and stand together only.",
            hint="Take the config from the model that the weights come from.",
        )
    if config.data.get("norm_num_groups", 32) is None and not of_k:
        raise SourceError(
            f"{config.path}: 'norm_num_groups' is null, and the norms of these blocks need a "
            "number.",
            hint="Only blocks of K-diffusion (KDownBlock2D, …) count their groups themselves.",
        )


UNET_2D_CONDITION = Denoiser(
    class_name="UNet2DConditionModel",
    library="diffusers",
    options={
        "act_fn": unet.ACTIVATIONS,
        "down_block_types": (
            *("DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            *("CrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
            *("KDownBlock2D", "KCrossAttnDownBlock2D"),
        ),
        "mid_block_type": (
            *("UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D"),
            None,
        ),
        "up_block_types": (
            *("UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"),
            *("CrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D"),
            *("KUpBlock2D", "KCrossAttnUpBlock2D"),
        ),
        "resnet_time_scale_shift": unet.NORMS,
        "time_embedding_type": ("positional", "fourier"),
        "time_embedding_act_fn": (*unet.ACTIVATIONS, None),
        "timestep_post_act": (*unet.ACTIVATIONS, None),
        "cross_attention_norm": ("layer_norm", "group_norm", None),
        "attention_type": ("default", "gated", "gated-text-image"),
        "dual_cross_attention": (False, None),
        "class_embeddings_concat": (False, None),
        "num_attention_heads": (None,),
    },
    parts=(
        Part(
            role="denoiser",
            signature=_signature,
            forward=_forward,
            probe=probe,
            float32_layers=unet.FLOAT32_LAYERS,
            sensitive_layers=unet.SENSITIVE_LAYERS,
            natives={"coreml": unet.COREML},
        ),
    ),
    check=_check,
    complete=_complete,
    keys=replace(unet.KEYS, elsewhere=ldm_names),
    prunable=True,
    taken=_taken,
    predicted=_predicted,
    native_size=_native_size,
    multiple=_multiple,
    reduction=unet.reduction,
    text_width=_text_width,
    guidance_width=_guidance_width,
    picture_part=image_prompt.PART,
    classes=unet.classes,
    caching=Caching(
        signature=feature_cache.whole_signature(_signature),
        part=Part(
            role="shallow_denoiser",
            signature=_shallow_signature,
            forward=_shallow_forward,
            probe=probe,
            suffix=feature_cache.SUFFIX,
            float32_layers=unet.FLOAT32_LAYERS,
            sensitive_layers=unet.SENSITIVE_LAYERS,
            natives={"coreml": unet.COREML_SHALLOW},
        ),
        prefixes=_shallow_prefixes,
        check=feature_cache.check_last_block,
        kept=feature_cache.kept_modules,
    ),
)
