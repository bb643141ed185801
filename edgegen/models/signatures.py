"""Inputs and outputs of each component, from its configuration alone.

Names are those of optimum's ONNX export, so that its pipelines load our packages. An axis with a
name may be of any size; `height / 8` is the image's height over the pixels that a latent covers.
"""

from __future__ import annotations

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import DType, TensorSpec

Signature = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""Inputs and outputs."""

_REFUSED_CONDITIONS = {
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
}


def text_encoder(config: ComponentConfig, class_name: str) -> Signature:
    """Return the signature of a CLIP text encoder: its states and, projected, its embedding.

    `hidden_states.N` of N layers is what the last layer gives, `last_hidden_state` the same behind
    the final norm. optimum's pipelines count the states from the end, so none may be missing.
    """
    hidden = config.integer("hidden_size")
    sequence = ("batch", "sequence", hidden)
    states = tuple(
        _tensor(f"hidden_states.{layer}", *sequence)
        for layer in range(config.integer("num_hidden_layers") + 1)
    )
    last = _tensor("last_hidden_state", *sequence)
    inputs = (_tensor("input_ids", "batch", "sequence", dtype="int64"),)
    if class_name == "CLIPTextModelWithProjection":
        projection = config.integer("projection_dim", 512)
        return inputs, (_tensor("text_embeds", "batch", projection), last, *states)
    return inputs, (last, _tensor("pooler_output", "batch", hidden), *states)


def conditional_unet(config: ComponentConfig, scale: int, text_embedding: int | None) -> Signature:
    """Return the signature of a UNet2DConditionModel.

    `scale` is pixels a latent, `text_embedding` the size of the last text encoder's projection.
    """
    _refuse_conditions(config)
    height, width = _scaled("height", scale), _scaled("width", scale)
    inputs = [
        _tensor("sample", "batch", config.integer("in_channels", 4), height, width),
        _tensor("timestep"),
        _tensor("encoder_hidden_states", "batch", "sequence", _cross_attention(config)),
    ]
    added = config.optional_text("addition_embed_type")
    if added == "text_time" and text_embedding is not None:
        inputs += [
            _tensor("text_embeds", "batch", text_embedding),
            _tensor("time_ids", "batch", time_ids(config, text_embedding)),
        ]
    elif added is not None:
        raise SourceError(
            f"{config.path}: edgegen cannot feed 'addition_embed_type' {added!r} to this UNet.",
            hint="It supports 'text_time' where a text encoder has a projection (SDXL), or none.",
        )
    guidance = config.optional_integer("time_cond_proj_dim")
    if guidance is not None:
        inputs.append(_tensor("timestep_cond", "batch", guidance))
    return tuple(inputs), (
        _tensor("out_sample", "batch", config.integer("out_channels", 4), height, width),
    )


def unconditional_unet(config: ComponentConfig) -> Signature:
    """Return the signature of a UNet2DModel, which works on pixels."""
    _refuse_conditions(config)
    sample = _tensor("sample", "batch", config.integer("in_channels", 3), "height", "width")
    out = _tensor("out_sample", "batch", config.integer("out_channels", 3), "height", "width")
    return (sample, _tensor("timestep")), (out,)


def decoder(config: ComponentConfig, scale: int) -> Signature:
    """Return the signature of an autoencoder's decoder: latents to pixels from −1 to 1."""
    return (_latent(config, "latent_sample", scale),), (
        _tensor("sample", "batch", config.integer("out_channels", 3), "height", "width"),
    )


def encoder(config: ComponentConfig, class_name: str, scale: int) -> Signature:
    """Return the signature of an autoencoder's encoder.

    AutoencoderKL gives mean and log-variance (`latent_parameters`, twice the channels),
    AutoencoderTiny the latents.
    """
    pixels = _tensor("sample", "batch", config.integer("in_channels", 3), "height", "width")
    if class_name == "AutoencoderTiny":
        return (pixels,), (_latent(config, "latent_sample", scale),)
    return (pixels,), (_latent(config, "latent_parameters", scale, times=2),)


def time_ids(config: ComponentConfig, text_embedding: int) -> int:
    """Return how many numbers SDXL's `time_ids` has: six, or five for a refiner."""
    together = config.integer("projection_class_embeddings_input_dim")
    each = config.integer("addition_time_embed_dim")
    count, rest = divmod(together - text_embedding, each)
    if rest or count not in (5, 6):
        raise SourceError(
            f"{config.path}: 'projection_class_embeddings_input_dim' is {together}, which is not "
            f"{text_embedding} (the text embedding) and 5 or 6 times {each}.",
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
    value = config.data.get("cross_attention_dim")
    if isinstance(value, list) and len({*map(str, value)}) == 1:
        value = value[0]
    if type(value) is int and value > 0:
        return value
    return config.integer("cross_attention_dim", 1280)


def _refuse_conditions(config: ComponentConfig) -> None:
    for key, what in _REFUSED_CONDITIONS.items():
        if config.data.get(key) is not None:
            raise SourceError(
                f"{config.path}: this UNet takes {what} ('{key}'), which edgegen cannot feed.",
                hint="Choose a model that is conditioned on text alone, or on nothing.",
            )


def _latent(config: ComponentConfig, name: str, scale: int, *, times: int = 1) -> TensorSpec:
    channels = times * config.integer("latent_channels", 4)
    return _tensor(name, "batch", channels, _scaled("height", scale), _scaled("width", scale))


def _scaled(axis: str, scale: int) -> str:
    return axis if scale == 1 else f"{axis} / {scale}"


def _tensor(name: str, *shape: int | str, dtype: DType = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)
