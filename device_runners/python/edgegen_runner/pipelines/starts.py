"""Where an image begins: in noise, in a picture, or in a picture behind a mask.

Draws and arithmetic in the order of diffusers' ``prepare_latents``, ``prepare_mask_latents`` and
``prepare_image_latents`` (pipelines/stable_diffusion/pipeline_stable_diffusion{,_img2img,_inpaint,
_instruct_pix2pix,_upscale,_depth2img}.py; the XL ones agree).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .. import images
from ..errors import RunnerFailure
from ..generation import PICTURES, REDRAWING
from ..package import Package
from ..request import Request
from ..residency import Components
from ..schedulers import Noise, Scheduler
from .autoencoder import Autoencoder
from .base import Start, check_size, check_start, first_noise, generator, set_timesteps
from .beside import SmallPicture, read_depth
from .control import control_size

Array = npt.NDArray[Any]

Strengths = Mapping[str, float]
"""How far a ``picture``, a ``mask`` and one with ``depth`` go back into the noise by default."""
SIZED_BY_PICTURE = ("picture", "edit", "upscale", "upscale-latents", "depth")
"""Starts whose images have the size of the picture; behind a mask they have the model's."""


class Starts:
    """Plan the trajectory of a request, and begin one image after the other.

    ``kind`` is one of `STARTS`: ``noise``, ``picture`` (image-to-image), ``mask`` (inpainting), …
    With ``strength_spaces_steps`` a part of the noise is gone through in all steps, instead of in
    as large a part of them. Images of ``sized_by_picture`` are as large as the picture unless told.
    Raises RunnerFailure (bad-request) where pictures, size or strength do not go with the package.
    """

    def __init__(
        self,
        components: Components,
        request: Request,
        scheduler: Scheduler,
        strengths: Strengths,
        *,
        strength_spaces_steps: bool = False,
        sized_by_picture: tuple[str, ...] = SIZED_BY_PICTURE,
    ) -> None:
        self._request = request
        self._scheduler = scheduler
        self._autoencoder = Autoencoder(components)
        package = components.package
        self._generation = package.generation
        self._package = package
        self._joins_mask = package.facts.needs_mask
        self._strength_spaces_steps = strength_spaces_steps
        self.kind = start_kind(package, request)
        self._strength = request.strength
        if self._strength is None:
            self._strength = strengths.get(self.kind, 1.0)
        self._picture, self._mask, self.width, self.height = _read_pictures(
            self.kind, package, request, sized=self.kind in sized_by_picture
        )
        self._small = SmallPicture(package, request) if self.kind == "upscale" else None
        self._depth: Optional[Array] = None
        if self.kind == "depth" and request.depth is not None:
            self._depth = read_depth(request.depth, *self._shape[2:])
        check_size(package, self.width, self.height)
        self.steps = request.steps or package.generation.steps
        self.guidance = _guidance(self.kind, package, request)
        self.restart()
        check_start(scheduler, self.timesteps[0])
        if self._noises_picture and not scheduler.adds_noise:
            raise RunnerFailure(
                "unsupported-scheduler",
                f"{scheduler.name} adds no noise to pictures, and this image starts from one.",
                "Choose another with --scheduler.",
            )

    @property
    def _noises_picture(self) -> bool:
        """Return whether the scheduler adds noise to the picture: to begin, or behind a mask."""
        if self.kind != "mask":
            return self.kind in ("picture", "depth")
        keeps = not self._joins_mask and len(self.timesteps) > 1
        return keeps or (self._strength != 1.0 and self._request.latents is None)

    @property
    def components(self) -> tuple[str, ...]:
        """Return the components that beginning an image uses."""
        if self.kind in ("noise", "upscale"):
            return ()
        return (self._package.by_role("encoder").name,)

    @property
    def conditions(self) -> dict[str, Array]:
        """Return what the denoiser is told of how images begin, by its inputs."""
        return {} if self._small is None else {"class_labels": self._small.label}

    @property
    def around(self) -> Optional[tuple[Array, Array]]:
        """Return the picture and the mask of what is drawn anew in it, None without a mask."""
        if self._picture is None or self._mask is None:
            return None
        return self._picture, self._mask

    def restart(self) -> None:
        """Forget the last trajectory and plan the next."""
        scheduler, strength = self._scheduler, self._strength
        assert strength is not None
        if self.kind not in REDRAWING:
            set_timesteps(scheduler, self.steps)
            self.timesteps = scheduler.timesteps
            return
        if self.kind == "picture" and self._strength_spaces_steps:
            # LatentConsistencyModelImg2ImgPipeline: as many steps, through a part of the noise
            set_timesteps(scheduler, self.steps, strength=strength)
            self.timesteps = scheduler.timesteps
            return
        set_timesteps(scheduler, self.steps)
        skipped = max(self.steps - min(int(self.steps * strength), self.steps), 0)
        begin = skipped * scheduler.order
        self.timesteps = scheduler.timesteps[begin:]
        # PNDM makes a call more than steps: diffusers' image-to-image draws with it alone
        if len(self.timesteps) == 0 or (self.kind == "mask" and skipped == self.steps):
            raise RunnerFailure(
                "bad-request",
                f"Strength {strength:g} of {self.steps} steps is less than one step.",
                "Raise the strength, or make more steps.",
            )
        scheduler.set_begin_index(begin)

    def begin(self, seed: int) -> Start:
        """Start one image: its generator, its first latents, and what its mask protects."""
        self.restart()
        self._scheduler.seed_noise(seed)
        noise = generator(seed)
        if self.kind in ("picture", "depth"):
            return self._begin_with_picture(noise)
        if self.kind == "mask":
            return self._begin_with_mask(noise)
        beside: tuple[Array, ...] = ()
        if self._small is not None:
            assert self._picture is not None
            beside = (self._small.noised(self._picture, noise),)
        elif self.kind == "upscale-latents":
            assert self._picture is not None
            latents = self._autoencoder.encode(self._picture, noise)
            beside = (images.nearest_resize(latents, *self._shape[2:]),)
        drawn = first_noise(self._request, self._shape, noise)
        if self.kind == "edit":
            beside = (self._edited(),)
        return Start(drawn * np.float32(self._scheduler.init_noise_sigma), noise, extra=beside)

    @property
    def _shape(self) -> tuple[int, ...]:
        factor = self._generation.vae_scale_factor
        channels = self._generation.latent_channels
        return (1, channels, self.height // factor, self.width // factor)

    def _begin_with_picture(self, noise: Noise) -> Start:
        assert self._picture is not None
        original = self._autoencoder.encode(self._picture, noise)
        drawn = first_noise(self._request, original.shape, noise)
        latents = self._scheduler.add_noise(original, drawn, self.timesteps[0])
        return Start(latents, noise, extra=() if self._depth is None else (self._depth,))

    def _edited(self) -> Array:
        """Return the likeliest latents of the picture that is edited: nothing is drawn for them."""
        assert self._picture is not None
        if self._generation.scaled_picture:
            return self._autoencoder.scaled_mode(self._picture)
        return self._autoencoder.mode(self._picture)

    def _begin_with_mask(self, noise: Noise) -> Start:
        assert self._picture is not None
        assert self._mask is not None
        from_noise = self._strength == 1.0
        original: Optional[Array] = None
        if not self._joins_mask or not from_noise:
            original = self._autoencoder.encode(self._picture, noise, for_inpainting=True)
        drawn = first_noise(self._request, self._shape, noise)
        if from_noise or self._request.latents is not None:
            latents = drawn * np.float32(self._scheduler.init_noise_sigma)
        else:
            assert original is not None
            latents = self._scheduler.add_noise(original, drawn, self.timesteps[0])
        mask = images.nearest_resize(self._mask, *self._shape[2:])
        if self._joins_mask:
            hidden = self._picture * (self._mask < 0.5).astype(np.float32)
            extra = (mask, self._autoencoder.encode(hidden, noise, for_inpainting=True))
            return Start(latents, noise, extra=extra)
        self._autoencoder.skip(self._shape, noise)  # diffusers encodes the hidden picture here too
        assert original is not None
        kept = original

        def keep(latents: Array, index: int) -> Array:
            protected = kept
            if index < len(self.timesteps) - 1:
                protected = self._scheduler.add_noise(kept, drawn, self.timesteps[index + 1])
            return (np.float32(1) - mask) * protected + mask * latents

        return Start(latents, noise, keep=keep)


def start_kind(package: Package, request: Request) -> str:
    """Return how a request's images start, one of `STARTS`: what a family takes and is given.

    Raises RunnerFailure (bad-request) where the pictures do not go with the package.
    """
    facts = package.facts
    if (facts.needs_mask or request.mask is not None) and (
        request.image is None or request.mask is None
    ):
        raise RunnerFailure(
            "bad-request",
            "Inpainting takes a picture and a mask of what to draw anew.",
            "Give both --image and --mask.",
        )
    if "depth" in facts.starts and (request.image is None or request.depth is None):
        raise RunnerFailure(
            "bad-request",
            "This model draws from a picture and its depth map, which no package estimates.",
            "Give both --image and --depth.",
        )
    if facts.needs_picture and request.image is None:
        raise RunnerFailure(
            "bad-request", "This model works on a picture.", "Give it with --image."
        )
    if request.image is None:
        return "noise"
    given = tuple(name for name in ("image", "mask", "depth") if getattr(request, name) is not None)
    kind = next((it for it in facts.starts if PICTURES[it] == given), None)
    if kind is None:
        kind = "picture" if request.mask is None else "mask"
        raise RunnerFailure(
            "bad-request",
            f"This model does not start from a {kind}.",
            f"Leave --{'image' if kind == 'picture' else 'mask'} out.",
        )
    if kind != "upscale" and not package.all_of("encoder"):
        raise RunnerFailure(
            "bad-request",
            "This package has no vae_encoder, so it cannot start from a picture.",
            "Package the model again with its encoder, or leave --image out.",
        )
    return kind


def _guidance(kind: str, package: Package, request: Request) -> float:
    """Return the guidance scale: the request's, else the package's for what is drawn."""
    if request.guidance is not None:
        return request.guidance
    generation = package.generation
    if kind == "mask" and generation.inpaint_guidance is not None:
        return generation.inpaint_guidance
    return generation.guidance


def _read_pictures(
    kind: str, package: Package, request: Request, *, sized: bool
) -> tuple[Optional[Array], Optional[Array], int, int]:
    """Return the picture and the mask, (1, channels, height, width), and their width and height.

    As in diffusers, image-to-image draws at the picture's size unless told, inpainting at the
    model's, and what a picture steers at that one's. A picture that is enlarged is as large as the
    latents.
    """
    generation = package.generation
    own = control_size(package, request) if kind == "noise" else None
    own_width, own_height = own or (generation.width, generation.height)
    width, height = request.width or own_width, request.height or own_height
    if kind == "noise" or request.image is None:
        return None, None, width, height
    pixels = images.to_rgb(images.read_picture(request.image))
    factor = generation.vae_scale_factor
    enlarged = {"upscale": factor, "upscale-latents": 2}.get(kind, 1)
    if sized:
        width = request.width or enlarged * max(pixels.shape[1] // factor * factor, factor)
        height = request.height or enlarged * max(pixels.shape[0] // factor * factor, factor)
    kernel = images.LANCZOS if enlarged == 1 else images.BICUBIC
    resized = images.resize(pixels, height // enlarged, width // enlarged, kernel)
    picture = images.to_model_range(resized)
    if request.mask is None:
        return picture, None, width, height
    # diffusers resizes a mask before it makes it gray.
    mask = images.to_gray(images.resize(images.read_picture(request.mask), height, width))
    return picture, images.to_mask(mask), width, height
