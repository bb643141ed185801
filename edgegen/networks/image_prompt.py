"""IP-Adapter (arXiv 2308.06721): a picture as a part of the prompt, in attentions of its own.

The config of a UNet with one has the settings of the plain network, and under
`edgegen_image_prompt` what was added: a projection of the image encoder's features to tokens, and
in each cross-attention two matrices that read them. The projection is a component of its own; the
UNet takes its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from edgegen.core.codec import decode
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ConfigError, SourceError
from edgegen.networks import probes
from edgegen.networks.base import Neighbours, Part, Signature, Tensors, tensor

KEY = "edgegen_image_prompt"
TOKENS = "image_tokens"
EMBEDDING, PATCHES = "image_embeds", "image_states"
"""What tokens are made of: a picture's embedding, or the states of its patches."""
PROJECTION = "encoder_hid_proj."
LAYERS = 4
"""Of the resampler that makes tokens of a picture's patches."""
Kind = Literal["embedding", "patches", "all patches"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrompt:
    """What an IP-Adapter adds to a UNet.

    It makes `tokens` of what the image encoder gives, which is `features` wide: its projected
    "embedding" (`ImageProjection`), or the states of its patches, by a resampler of `hidden`
    channels and `heads` ("patches", IP-Adapter Plus) or one by one ("all patches", Full). Tokens
    are `width` wide, as the states of the text; what attention reads of them counts `scale` times.
    """

    kind: Kind
    tokens: int
    features: int
    width: int
    scale: float = 1.0
    hidden: int | None = None
    heads: int | None = None

    @property
    def reads_patches(self) -> bool:
        """Return whether it looks at the states of patches, instead of one embedding."""
        return self.kind != "embedding"


def image_prompt_of(config: Mapping[str, Any], source: str) -> ImagePrompt | None:
    """Return what a config says of an IP-Adapter; None for a plain network.

    Raises SourceError where it says no such thing.
    """
    if config.get(KEY) is None:
        return None
    try:
        return decode(ImagePrompt, config[KEY], source=source, at=KEY)
    except ConfigError as error:
        raise SourceError(
            error.message, hint="Give the adapter with --ip-adapter; edgegen writes this key."
        ) from error


def has_image_prompt(config: ComponentConfig) -> bool:
    """Return whether a UNet has an IP-Adapter."""
    return config.data.get(KEY) is not None


def attach(network: Any, prompt: ImagePrompt) -> None:
    """Add the modules of an IP-Adapter to a UNet, as `load_ip_adapter` of diffusers does.

    Where its call gets tokens, as `added_cond_kwargs`, it takes them as they are.
    """
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
    from diffusers.models.embeddings import MultiIPAdapterImageProjection

    processors = dict(network.attn_processors)
    for name in processors:
        if name.endswith("attn2.processor"):
            attention = network.get_submodule(name.removesuffix(".processor"))
            processors[name] = IPAdapterAttnProcessor2_0(
                hidden_size=attention.to_k.out_features,
                cross_attention_dim=prompt.width,
                num_tokens=[prompt.tokens],
                scale=[prompt.scale],
            )
    network.set_attn_processor(processors)
    network.encoder_hid_proj = MultiIPAdapterImageProjection([_projection(prompt)])
    network.register_to_config(encoder_hid_dim_type="ip_image_proj")
    network.process_encoder_hidden_states = partial(
        _with_tokens, network.process_encoder_hidden_states
    )


def _projection(prompt: ImagePrompt) -> Any:
    from diffusers.models import embeddings

    if prompt.kind == "embedding":
        return embeddings.ImageProjection(
            image_embed_dim=prompt.features,
            cross_attention_dim=prompt.width,
            num_image_text_embeds=prompt.tokens,
        )
    if prompt.kind == "all patches":
        return embeddings.IPAdapterFullImageProjection(
            image_embed_dim=prompt.features, cross_attention_dim=prompt.width
        )
    return embeddings.IPAdapterPlusImageProjection(
        embed_dims=prompt.features,
        output_dims=prompt.width,
        hidden_dims=prompt.hidden,
        depth=LAYERS,
        heads=prompt.heads,
        num_queries=prompt.tokens,
    )


def _with_tokens(process: Any, encoder_hidden_states: Any, added_cond_kwargs: Any) -> Any:
    tokens = (added_cond_kwargs or {}).get(TOKENS)
    if tokens is not None:
        return encoder_hidden_states, [tokens]
    return process(encoder_hidden_states, added_cond_kwargs)


def _project(network: Any, inputs: Tensors) -> Tensors:
    (projection,) = network.encoder_hid_proj.image_projection_layers
    (features,) = inputs.values()
    return {TOKENS: projection(features)}


def _signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    prompt = image_prompt_of(config.data, str(config.path))
    assert prompt is not None  # else there is no such component
    features = tensor(EMBEDDING, "batch", prompt.features)
    if neighbours.patches is not None:
        features = tensor(PATCHES, "batch", neighbours.patches, prompt.features)
    return (features,), (tensor(TOKENS, "batch", prompt.tokens, prompt.width),)


PART = Part(
    role="image_projection",
    suffix="_image_projection",
    prefixes=(PROJECTION,),
    signature=_signature,
    forward=_project,
    probe=probes.noise,
    float32_layers=("*",),
    sensitive_layers=("*",),
)
