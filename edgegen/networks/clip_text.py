"""CLIP's text encoders: CLIPTextModel, and CLIPTextModelWithProjection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.networks import probes
from edgegen.networks.base import (
    KeyRules,
    NativeNames,
    NativeTensor,
    Neighbours,
    Options,
    Part,
    Signature,
    Tensors,
    TextEncoder,
    nothing,
    tensor,
)

_PREFIX = "text_model."  # transformers 5 dropped it from parameters, and reads keys with it
_IGNORED = ("logit_scale", "vision_model.", "visual_projection.")
"""Where all of CLIP was saved."""
_WORDS = "embeddings.token_embedding"
_SENSITIVE_LAYERS = ("*embeddings.*", "text_projection")
"""The words themselves, where they stand, and what SDXL is conditioned on."""
OPTIONS: Options = {
    "hidden_act": (
        *("quick_gelu", "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new"),
        *("gelu_pytorch_tanh", "linear", "mish", "relu", "relu2", "relu6", "sigmoid"),
        *("silu", "swish", "tanh"),
    ),
}


def _signature(config: ComponentConfig, _: Neighbours, *, projects: bool) -> Signature:
    """Return ids to states and, projected, the embedding.

    `hidden_states.N` of N layers is what the last layer gives, `last_hidden_state` the same behind
    the final norm. optimum's pipelines count the states from the end, so none may be missing.
    """
    hidden = config.integer("hidden_size")
    sequence = ("batch", "sequence", hidden)
    states = tuple(
        tensor(f"hidden_states.{layer}", *sequence)
        for layer in range(config.integer("num_hidden_layers") + 1)
    )
    last = tensor("last_hidden_state", *sequence)
    inputs = (tensor("input_ids", "batch", "sequence", dtype="int64"),)
    if projects:
        return inputs, (tensor("text_embeds", "batch", _projection(config)), last, *states)
    return inputs, (last, tensor("pooler_output", "batch", hidden), *states)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    result = network(inputs["input_ids"], output_hidden_states=True)
    named = {name: value for name, value in result.items() if name != "hidden_states"}
    states = {f"hidden_states.{index}": state for index, state in enumerate(result.hidden_states)}
    return {**named, **states}


def _newer(key: str) -> Iterator[str]:
    yield key.removeprefix(_PREFIX) if key.startswith(_PREFIX) else _PREFIX + key


def _width(config: ComponentConfig) -> int:
    return config.integer("hidden_size")


def _projection(config: ComponentConfig) -> int:
    return config.integer("projection_dim", 512)


def _positions(config: ComponentConfig) -> int:
    return config.integer("max_position_embeddings", 77)


def _part(*, projects: bool) -> Part:
    return Part(
        role="text_encoder",
        signature=partial(_signature, projects=projects),
        forward=_forward,
        probe=probes.tokens,
        sensitive_layers=_SENSITIVE_LAYERS,
        natives={
            "coreml": NativeNames(
                file="TextEncoder{number}",
                tensors={
                    "pooler_output": NativeTensor(name="pooled_outputs"),
                    "text_embeds": NativeTensor(name="pooled_outputs"),
                    "hidden_states.*": NativeTensor(name="hidden_embeds"),
                },
            )
        },
    )


def _keys(*ignored: str) -> KeyRules:
    return KeyRules(
        newer=_newer,
        ignored=(*_IGNORED, *ignored),
        layer=re.compile(r"(?:text_model\.)?encoder\.layers\.(\d{1,6})\..*"),
    )


CLIP_TEXT_MODEL = TextEncoder(
    class_name="CLIPTextModel",
    library="transformers",
    config_class="CLIPTextConfig",
    options=OPTIONS,
    parts=(_part(projects=False),),
    keys=_keys("text_projection."),
    width=_width,
    pooled_width=nothing,
    positions=_positions,
    words=_WORDS,
)
CLIP_TEXT_MODEL_WITH_PROJECTION = TextEncoder(
    class_name="CLIPTextModelWithProjection",
    library="transformers",
    config_class="CLIPTextConfig",
    options=OPTIONS,
    parts=(_part(projects=True),),
    keys=_keys(),
    width=_width,
    pooled_width=_projection,
    positions=_positions,
    words=_WORDS,
)
