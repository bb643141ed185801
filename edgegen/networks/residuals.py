"""Residuals: what other networks add to the features of a UNet, and steer it by.

A ControlNet gives one for what each layer on the way down hands to a layer on the way up, and one,
the last, for the middle. They are called as Apple's ml-stable-diffusion calls them
(`torch2coreml.py`, `--unet-support-controlnet`); in diffusers they are two arguments, a list and a
tensor. A T2I-Adapter gives one for each block down and, as far as it has more, for the middle; they
act on the blocks behind, too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks.base import Tensors, scaled, tensor
from edgegen.networks.unet import OLD_PREFIX

_NAME = "additional_residual_{}"
_WITHIN_NAME = "intrablock_residual_{}"
BLOCKS = frozenset({"CrossAttnDownBlock2D", "DownBlock2D"})
"""Blocks down of which ControlNets are made."""


def name_of(index: int) -> str:
    """Return what a residual is called."""
    return _NAME.format(index)


def within_name(index: int) -> str:
    """Return what a residual of a T2I-Adapter is called."""
    return _WITHIN_NAME.format(index)


def is_residual(name: str) -> bool:
    """Return whether an input or output is a residual."""
    return name.startswith((_NAME.format(""), _WITHIN_NAME.format("")))


def taken(
    config: ComponentConfig, scale: int, given: Sequence[TensorSpec]
) -> tuple[TensorSpec, ...]:
    """Return the residuals that a UNet takes, where another network gives those.

    Raises SourceError for blocks that neither a ControlNet nor a T2I-Adapter steers.
    """
    if not given:
        return ()
    if given[0].name == name_of(0):
        return residuals(config, scale)
    return residuals_within(config, scale)[: len(given)]


def residuals_within(config: ComponentConfig, scale: int) -> tuple[TensorSpec, ...]:
    """Return all residuals of T2I-Adapters that a UNet takes.

    A block with attention takes them before it halves, another one behind that.
    """
    _check_blocks(config)
    widths = config.items("block_out_channels")
    last = len(widths) - 1
    blocks = [str(it).removeprefix(OLD_PREFIX) for it in config.items("down_block_types")]
    levels = [
        level if block.startswith("CrossAttn") else min(level + 1, last)
        for level, block in enumerate(blocks)
    ]
    found = []
    for index, (channels, level) in enumerate(
        zip((*widths, widths[-1]), (*levels, last), strict=True)
    ):
        height, width = (scaled(axis, scale << level) for axis in ("height", "width"))
        found.append(tensor(within_name(index), "batch", channels, height, width))
    return tuple(found)


def residuals(config: ComponentConfig, scale: int) -> tuple[TensorSpec, ...]:
    """Return the residuals of a UNet or ControlNet; a latent has `scale` pixels.

    Raises SourceError for blocks whose features no ControlNet has.
    """
    _check_blocks(config)
    found = []
    for index, (channels, level) in enumerate(_features(config)):
        height, width = (scaled(axis, scale << level) for axis in ("height", "width"))
        found.append(tensor(name_of(index), "batch", channels, height, width))
    return tuple(found)


def given_to(inputs: Tensors) -> dict[str, Any]:
    """Return residuals as a UNet of diffusers takes them."""
    found = [*_in_order(inputs, name_of)]
    within = [*_in_order(inputs, within_name)]
    arguments: dict[str, Any] = {}
    if found:
        arguments["down_block_additional_residuals"] = found[:-1]
        arguments["mid_block_additional_residual"] = found[-1]
    if within:
        arguments["down_intrablock_additional_residuals"] = within
    return arguments


def _in_order(inputs: Tensors, name: Callable[[int], str]) -> Iterator[Any]:
    names = map(name, itertools.count())
    yield from (inputs[it] for it in itertools.takewhile(inputs.__contains__, names))


def _features(config: ComponentConfig) -> Iterator[tuple[int, int]]:
    """Yield channels and level of each: of the first convolution, each layer, each halving."""
    widths = config.items("block_out_channels")
    layers = config.data.get("layers_per_block", 2)
    yield widths[0], 0
    for level, channels in enumerate(widths):
        is_last = level == len(widths) - 1
        for _ in range(layers[level] if isinstance(layers, list) else layers):
            yield channels, level
        if not is_last:
            yield channels, level + 1
    yield widths[-1], len(widths) - 1


def _check_blocks(config: ComponentConfig) -> None:
    blocks = [str(it).removeprefix(OLD_PREFIX) for it in config.items("down_block_types")]
    odd = next((it for it in blocks if it not in BLOCKS), None)
    if odd is not None:
        raise SourceError(
            f"{config.path}: no ControlNet or T2I-Adapter steers a {odd}.",
            hint=f"They steer {' and '.join(sorted(BLOCKS))}.",
        )
    if config.data.get("downsample_padding", 1) != 1:
        raise SourceError(
            f"{config.path}: 'downsample_padding' is {config.data['downsample_padding']!r}, and "
            "ControlNets and T2I-Adapters are known for 1.",
            hint="Leave --controlnet out for this model.",
        )
