"""T5EncoderModel: the text encoder of PixArt, which reads an attention mask beside the ids."""

from __future__ import annotations

from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.networks import probes
from edgegen.networks.base import (
    KeyRules,
    Neighbours,
    Part,
    Signature,
    Tensors,
    TextEncoder,
    nothing,
    tensor,
)

_EMBEDDING = "shared.weight"
FLOAT32_LAYERS = ("encoder.block.*.layer.?", "*layer_norm", "*.wo")
"""The sums behind the layers of T5-XXL pass 65504, the largest float16, and so does the mean of
their squares in the norms; transformers keeps `wo` in 32 bits, too."""

SENSITIVE_LAYERS = ("shared", "*embed_tokens", "*relative_attention_bias")
"""The words themselves, and where they stand."""


def _signature(config: ComponentConfig, _: Neighbours) -> Signature:
    inputs = tuple(
        tensor(name, "batch", "sequence", dtype="int64") for name in ("input_ids", "attention_mask")
    )
    return inputs, (tensor("last_hidden_state", "batch", "sequence", _width(config)),)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    # (batch, 1, 1, key): from (batch, key) transformers gathers the same by indexes that it counts
    mask = inputs["attention_mask"][:, None, None, :] > 0
    result = network(inputs["input_ids"], attention_mask=mask)
    return {"last_hidden_state": result.last_hidden_state}


def _width(config: ComponentConfig) -> int:
    return config.integer("d_model", 512)


T5_ENCODER = TextEncoder(
    class_name="T5EncoderModel",
    library="transformers",
    config_class="T5Config",
    options={"feed_forward_proj": ("relu", "gated-gelu", "gated-silu", "gated-relu")},
    parts=(
        Part(
            role="text_encoder",
            signature=_signature,
            forward=_forward,
            probe=probes.tokens,
            float32_layers=FLOAT32_LAYERS,
            sensitive_layers=SENSITIVE_LAYERS,
        ),
    ),
    keys=KeyRules(
        ignored=("decoder.", "lm_head."),
        tied={"encoder.embed_tokens.weight": _EMBEDDING, _EMBEDDING: "encoder.embed_tokens.weight"},
    ),
    width=_width,
    pooled_width=nothing,
    positions=nothing,
)
