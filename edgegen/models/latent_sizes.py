"""Which sizes a denoiser takes: any, or multiples of what its levels halve."""

from __future__ import annotations

import math

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import Generation
from edgegen.models.network_options import OLD_PREFIX

_BLOCKS_THAT_TAKE_A_SIZE = frozenset({"CrossAttnUpBlock2D", "UpBlock2D"})
"""Blocks of a UNet2DConditionModel that upsample to the size of the skip they are joined with."""
_TEXT_PX = 8


def latent_multiple(unet: ComponentConfig) -> int:
    """Return what height and width of the latents have to be a multiple of.

    A UNet2DConditionModel hands the sizes of its skips to the blocks that upsample
    (`forward_upsample_size` in diffusers), and most of them take any. A UNet2DModel doubles at each
    level what it halved on the way down.
    """
    given = unet.data.get("up_block_types")
    blocks = [str(name).removeprefix(OLD_PREFIX) for name in given or ()]
    has_text = unet.data.get("_class_name") != "UNet2DModel"
    if has_text and _BLOCKS_THAT_TAKE_A_SIZE.issuperset(blocks[:-1]):
        return 1
    return int(2 ** (len(unet.items("block_out_channels")) - 1))


def latent_multiple_of_text(unet: ComponentConfig, scale: int) -> int:
    """Return the same for a pipeline that draws from text with `scale` pixels a latent.

    diffusers' pipelines take sizes that 8 divides, whatever their autoencoder does.
    """
    return math.lcm(latent_multiple(unet), _TEXT_PX // math.gcd(_TEXT_PX, scale))


def size_problem(generation: Generation) -> str | None:
    """Return why a model cannot draw at the size that `generation` says, or None where it can."""
    multiple = generation.vae_scale_factor * generation.latent_multiple
    width, height = generation.width, generation.height
    if width % multiple == height % multiple == 0 and min(width, height) > 0:
        return None
    return (
        f"This model draws widths and heights that are multiples of {multiple}, and "
        f"{width} × {height} is not."
    )
