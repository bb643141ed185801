"""Which sizes a denoiser takes: any, or multiples of what its levels halve."""

from __future__ import annotations

from edgegen.core.errors import ConfigError
from edgegen.core.model import Generation
from edgegen.pipelines.configs import ComponentConfig

_BLOCKS_THAT_TAKE_A_SIZE = frozenset({"CrossAttnUpBlock2D", "UpBlock2D"})
"""Blocks of a UNet2DConditionModel that upsample to the size of the skip they are joined with."""


def latent_multiple(unet: ComponentConfig) -> int:
    """Return what height and width of the latents have to be a multiple of.

    A UNet2DConditionModel hands the sizes of its skips to the blocks that upsample
    (`forward_upsample_size` in diffusers), and most of them take any. A UNet2DModel doubles at each
    level what it halved on the way down.
    """
    levels = len(unet.data.get("block_out_channels") or range(4))
    blocks = unet.data.get("up_block_types") or ()
    has_text = unet.data.get("_class_name") != "UNet2DModel"
    if has_text and _BLOCKS_THAT_TAKE_A_SIZE.issuperset(map(str, blocks[:-1])):
        return 1
    return int(2 ** (levels - 1))


def check_size(generation: Generation, *, hint: str) -> None:
    """Raise ConfigError for a width and height that the model cannot draw."""
    multiple = generation.vae_scale_factor * generation.latent_multiple
    width, height = generation.width, generation.height
    if width % multiple or height % multiple or min(width, height) < multiple:
        raise ConfigError(
            f"This model draws widths and heights that are multiples of {multiple}, and "
            f"{width} × {height} is not.",
            hint=hint,
        )
