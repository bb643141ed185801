"""What the manifest says of drawing with a package; the host writes it, the runner reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Optional, get_args

Role = Literal[
    "text_encoder",
    "image_encoder",
    "image_projection",
    "controlnet",
    "t2i_adapter",
    "denoiser",
    "shallow_denoiser",
    "decoder",
    "encoder",
]
"""What a component does in its pipeline."""
Guidance = Literal["classifier-free", "embedded", "none"]
Start = Literal["noise", "picture", "mask", "edit", "upscale", "upscale-latents", "depth"]
ROLES: tuple[Role, ...] = get_args(Role)
GUIDANCE: tuple[Guidance, ...] = get_args(Guidance)
STARTS: tuple[Start, ...] = get_args(Start)
PICTURES: Mapping[Start, tuple[str, ...]] = {
    "noise": (),
    "picture": ("image",),
    "mask": ("image", "mask"),
    "edit": ("image",),
    "upscale": ("image",),
    "upscale-latents": ("image",),
    "depth": ("image", "depth"),
}
"""The pictures of a request that each start takes."""
PICTURE_NAMES: Mapping[str, str] = {
    "image": "input.png",
    "mask": "mask.png",
    "depth": "depth.png",
    "picture_prompt": "prompt.png",
}
"""What these pictures, and the one that is a part of the prompt, are called in a golden case."""
REDRAWING: tuple[Start, ...] = ("picture", "mask", "depth")
"""Starts that go back into the noise by a strength; the others begin in noise alone."""
NativeLayout = Literal["plain", "channels-first"]
NATIVE_LAYOUTS: tuple[NativeLayout, ...] = get_args(NativeLayout)


@dataclass(frozen=True)
class FamilyFacts:
    """What a pipeline takes, and how an image begins: whoever draws asks this, never a name.

    ``guidance`` compares with an empty prompt ("classifier-free"), is an input of the denoiser
    ("embedded"), or is "none". ``starts`` are the ways in which an image can begin, the usual one
    first: in noise, in a picture, or in a picture behind a mask; in noise beside a picture that is
    edited ("edit") or enlarged ("upscale", "upscale-latents"); or in a picture beside its depth.
    ``controls`` pictures steer it, and where it ``takes_picture_prompt`` one is a part of the
    prompt.
    """

    guidance: Guidance
    takes_text: bool
    takes_negative_prompt: bool
    starts: tuple[Start, ...]
    controls: int = 0
    takes_picture_prompt: bool = False

    @property
    def needs_mask(self) -> bool:
        """Return whether every image begins in a picture behind a mask."""
        return self.starts == ("mask",)

    def is_guided(self, scale: float) -> bool:
        """Return whether a scale of guidance makes the denoiser look at an empty prompt, too."""
        return scale > 1 and self.guidance == "classifier-free"

    @property
    def predictions(self) -> int:
        """Return how many predictions guidance compares; a third looks at no picture, either."""
        return 3 if "edit" in self.starts else 2

    @property
    def enlarges(self) -> int:
        """Return how many times as wide an image is as the picture that is encoded for it."""
        return 2 if "upscale-latents" in self.starts else 1

    @property
    def needs_picture(self) -> bool:
        """Return whether nothing can be drawn without a picture to begin with."""
        return "noise" not in self.starts


def guided_calls(start: float, stop: float, calls: int) -> range:
    """Return which of the denoiser's calls of an image are guided, by their index.

    The rounding is that of diffusers' guiders (``BaseGuidance.start`` and ``stop``).

    >>> guided_calls(0.0, 0.5, 25)
    range(0, 12)
    """
    return range(int(start * calls), int(stop * calls))


def computes_all(index: int, interval: int, guided: range) -> bool:
    """Return whether a call of the denoiser computes all layers, where features are kept.

    The first of ``interval`` calls does, and so does the first of those ``guided`` that comes after
    others: nothing is kept without the prompt before it.

    >>> [index for index in range(9) if computes_all(index, 4, range(3, 9))]
    [0, 3, 4, 8]
    """
    return index % interval == 0 or index == guided.start


@dataclass(frozen=True)
class Generation:
    """What the denoising loop has to know besides the scheduler's own configuration.

    ``width`` and ``height`` are the model's native size in pixels, or the one that it was packaged
    for. ``vae_scale_factor`` is pixels a latent (1 where there is no autoencoder), and
    ``latent_multiple`` what height and width in latents have to be multiples of.
    ``guidance_embedding_dim`` is set where the denoiser takes the guidance scale as an embedding
    (``timestep_cond``, latent consistency models). ``latents_mean`` and ``latents_std``, one a
    channel, are set where SDXL's pipelines normalize latents with them. ``steps`` and ``guidance``
    are the defaults; ``inpaint_guidance`` takes the place of the latter behind a mask, where
    diffusers' inpainting class has another default. ``guidance_start`` and ``guidance_stop``, 0…1,
    are the part of the denoiser's calls in which it looks at an empty prompt, too. Of each
    ``cache_interval`` calls the first computes all layers, and the others the last one, on features
    that it left; 1: all of them do. A picture is decoded in tiles of ``decode_tile`` latents a
    side, None: at once. ``image_guidance`` is how closely a picture that is edited is
    kept to, and ``scaled_picture`` says whether its latents are scaled as those of images are. Of a
    picture that is enlarged, ``noise_level`` is the timestep of the noise that is added to it, at
    most ``most_noise_level``. ``classes`` is how many classes of images the denoiser knows, where
    it is told one.
    """

    width: int
    height: int
    latent_channels: int
    vae_scale_factor: int = 8
    latent_multiple: int = 1
    scaling_factor: float = 1.0
    shift_factor: float = 0.0
    latents_mean: Optional[tuple[float, ...]] = None
    latents_std: Optional[tuple[float, ...]] = None
    steps: int = 25
    guidance: float = 7.5
    inpaint_guidance: Optional[float] = None
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    decode_tile: Optional[int] = None
    text_length: Optional[int] = None
    guidance_embedding_dim: Optional[int] = None
    force_zeros_for_empty_prompt: bool = False
    requires_aesthetics_score: bool = False
    image_guidance: Optional[float] = None
    scaled_picture: bool = False
    noise_level: Optional[int] = None
    most_noise_level: Optional[int] = None
    classes: Optional[int] = None


@dataclass(frozen=True)
class NativeTensor:
    """An input or output as a target's own ecosystem knows it.

    ``channels-first`` is (batch, channels, 1, sequence) for a (batch, sequence, channels).
    """

    name: str
    layout: NativeLayout = "plain"
