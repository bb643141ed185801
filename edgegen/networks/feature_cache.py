"""Feature caching across steps: what of a UNet is computed in every step, and what is kept.

DeepCache (arXiv 2312.00858) computes all of a UNet in each Nth step. In the others it takes what
enters the last layer on the way up from the step before, and computes that layer on the new sample
alone: `conv_in`, the embedding of the timestep, the last residual block and its attention, and the
convolution that ends the network. This is its branch 0; the helper of github.com/horseee/DeepCache
computes the same.

torch's modules come in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import ConfigError
from edgegen.core.model import TensorSpec
from edgegen.networks.base import Neighbours, Signature
from edgegen.networks.unet import OLD_PREFIX

SUFFIX = "_shallow"
FEATURES = "features"
"""What a whole call hands to those after it: an output of one graph, an input of the other."""
LAST_BLOCKS = frozenset({"UpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D"})
"""Blocks whose last layer joins its skip, then computes: residual block, attention if any."""
_CROSS_ATTENTION = "CrossAttnUpBlock2D"
_ENDS = ("conv_in.", "time_proj.", "time_embedding.", "conv_norm_out.", "conv_out.")


SignatureOf = Callable[[ComponentConfig, Neighbours], Signature]


def whole_signature(plain: SignatureOf) -> SignatureOf:
    """Return the signature of a denoiser that gives its features, too."""

    def signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
        inputs, outputs = plain(config, neighbours)
        return inputs, (*outputs, _features(config, inputs[0]))

    return signature


def shallow_signature(plain: SignatureOf) -> SignatureOf:
    """Return the signature of a denoiser's last layer, which takes the features, too."""

    def signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
        inputs, outputs = plain(config, neighbours)
        return (*inputs, _features(config, inputs[0])), outputs

    return signature


def _features(config: ComponentConfig, sample: TensorSpec) -> TensorSpec:
    """Return the features: as large as the sample, with the channels of the last block."""
    width = config.items("block_out_channels")[0]
    return replace(sample, name=FEATURES, shape=(sample.shape[0], width, *sample.shape[2:]))


def check_last_block(config: ComponentConfig) -> None:
    """Raise ConfigError for a UNet whose last layer cannot be computed on its own."""
    block = _last_block(config)
    if block not in LAST_BLOCKS or _layers_a_block(config) < 1:
        raise ConfigError(
            f"{config.path}: the last layer of this UNet, of a {block}, cannot be computed from "
            "features that were kept.",
            hint="Leave --cache-interval out for this model.",
        )


def reads_text(config: ComponentConfig) -> bool:
    """Return whether the last layer looks at the text."""
    return _last_block(config) == _CROSS_ATTENTION


def shallow_prefixes(config: ComponentConfig) -> tuple[str, ...]:
    """Return the prefixes of the layers that every step computes."""
    block, layer = len(config.items("up_block_types")) - 1, _layers_a_block(config)
    last = f"up_blocks.{block}."
    return (*_ENDS, f"{last}resnets.{layer}.", f"{last}attentions.{layer}.")


def _last_block(config: ComponentConfig) -> str:
    return str(config.items("up_block_types")[-1]).removeprefix(OLD_PREFIX)


def _layers_a_block(config: ComponentConfig) -> int:
    """Return the layers of the first block down; the last one up has one more."""
    layers = config.data.get("layers_per_block", 2)
    return int(layers[0] if isinstance(layers, list) else layers)


@contextmanager
def overheard(network: Any) -> Iterator[dict[str, Any]]:
    """Put the features of a call of a UNet inside the `with` block under their name.

    Of a UNet that `check_last_block` refuses there may be none.
    """
    block = network.up_blocks[-1]
    layers = [*(getattr(block, "attentions", None) or block.resnets)]
    heard: dict[str, Any] = {}
    if len(layers) < 2:
        yield heard
        return

    def hear(_module: Any, _inputs: Any, output: Any) -> None:
        heard[FEATURES] = output[0] if isinstance(output, tuple) else output

    handle = layers[-2].register_forward_hook(hear)
    try:
        yield heard
    finally:
        handle.remove()


def last_layer(network: Any, features: Any, skip: Any, embedding: Any, text: Any = None) -> Any:
    """Return what a UNet predicts from kept features; `skip` is what its first convolution gives.

    `text` are the states that the last layer looks at, if it does.
    """
    import torch

    block = network.up_blocks[-1]
    hidden = block.resnets[-1](torch.cat([features, skip], dim=1), embedding)
    attentions = getattr(block, "attentions", None)
    if attentions is not None:
        named = {} if text is None else {"encoder_hidden_states": text, "return_dict": False}
        attended = attentions[-1](hidden, **named)
        hidden = attended[0] if isinstance(attended, tuple) else attended
    if network.conv_norm_out is not None:
        hidden = network.conv_act(network.conv_norm_out(hidden))
    return network.conv_out(hidden)


def kept_modules(network: Any) -> Iterator[Any]:
    """Yield the modules of a UNet whose outputs a step may take from one before."""
    yield from network.down_blocks
    if network.mid_block is not None:
        yield network.mid_block
    *others, last = network.up_blocks
    yield from others
    yield from last.resnets[:-1]
    yield from (getattr(last, "attentions", None) or [])[:-1]
