"""Residuals: what a ControlNet adds to the features of a UNet on their way to the blocks up.

There is one for what each layer on the way down hands to a layer on the way up, and one, the last,
for the middle. They are called as Apple's ml-stable-diffusion calls them (`torch2coreml.py`,
`--unet-support-controlnet`); in diffusers they are two arguments, a list and a tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks.base import Tensors, scaled, tensor
from edgegen.networks.unet import OLD_PREFIX

_NAME = "additional_residual_{}"
BLOCKS = frozenset({"CrossAttnDownBlock2D", "DownBlock2D"})
"""Blocks down of which ControlNets are made."""


def name_of(index: int) -> str:
    """Return what a residual is called."""
    return _NAME.format(index)


def is_residual(name: str) -> bool:
    """Return whether an input or output is a residual."""
    return name.startswith(_NAME.format(""))


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


def given_to(inputs: Tensors) -> tuple[list[Any] | None, Any]:
    """Return those of the way down and that of the middle, as a UNet of diffusers takes them."""
    found: list[Any] = []
    while name_of(len(found)) in inputs:
        found.append(inputs[name_of(len(found))])
    return (found[:-1], found[-1]) if found else (None, None)


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
            f"{config.path}: no ControlNet steers a {odd}.",
            hint=f"ControlNets are copies of {' and '.join(sorted(BLOCKS))}.",
        )
    if config.data.get("downsample_padding", 1) != 1:
        raise SourceError(
            f"{config.path}: 'downsample_padding' is {config.data['downsample_padding']!r}, and "
            "ControlNets are known for 1.",
            hint="Leave --controlnet out for this model.",
        )
