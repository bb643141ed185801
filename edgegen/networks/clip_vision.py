"""CLIPVisionModelWithProjection: what an IP-Adapter sees a picture with."""

from __future__ import annotations

import re
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.networks import probes
from edgegen.networks.base import (
    ImageEncoder,
    KeyRules,
    Neighbours,
    Part,
    Signature,
    Tensors,
    tensor,
)
from edgegen.networks.clip_text import OPTIONS
from edgegen.networks.image_prompt import EMBEDDING, PATCHES

_IGNORED = (
    *("logit_scale", "text_model.", "text_projection."),  # where all of CLIP was saved
    "vision_model.embeddings.position_ids",
)


def _signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    """Return pictures to their embedding, or to the states of patches before the last layer."""
    side = config.integer("image_size", 224)
    pixels = tensor("pixel_values", "batch", config.integer("num_channels", 3), side, side)
    if neighbours.patches is None:
        return (pixels,), (tensor(EMBEDDING, "batch", _width(config)),)
    return (pixels,), (tensor(PATCHES, "batch", neighbours.patches, _patch_width(config)),)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    result = network(inputs["pixel_values"], output_hidden_states=True)
    return {EMBEDDING: result.image_embeds, PATCHES: result.hidden_states[-2]}


def _width(config: ComponentConfig) -> int:
    return config.integer("projection_dim", 512)


def _patch_width(config: ComponentConfig) -> int:
    return config.integer("hidden_size", 768)


def _patches(config: ComponentConfig) -> int:
    """Return the patches of a picture, and one that stands for all of it."""
    side = config.integer("image_size", 224) // config.integer("patch_size", 32)
    return int(side * side + 1)


CLIP_VISION_MODEL = ImageEncoder(
    class_name="CLIPVisionModelWithProjection",
    library="transformers",
    config_class="CLIPVisionConfig",
    options=OPTIONS,
    parts=(
        Part(
            role="image_encoder",
            signature=_signature,
            forward=_forward,
            probe=probes.picture,
            sensitive_layers=("*embeddings.*", "visual_projection"),
        ),
    ),
    keys=KeyRules(
        ignored=_IGNORED,
        layer=re.compile(r"vision_model\.encoder\.layers\.(\d{1,6})\..*"),
    ),
    width=_width,
    patch_width=_patch_width,
    patches=_patches,
)
