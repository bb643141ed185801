"""Between pictures and latents, with the variational autoencoder's two halves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..residency import Components
from ..schedulers import Noise
from .tiles import decode_in_tiles

Array = npt.NDArray[Any]
CONDITION_PICTURE, CONDITION_MASK = "condition_picture", "condition_mask"
"""Inputs of a decoder that looks at the picture around a mask (AsymmetricAutoencoderKL)."""


class Autoencoder:
    """Decode latents and encode pictures; scaling and shift are applied here."""

    def __init__(self, components: Components) -> None:
        self._components = components
        generation = components.package.generation
        self._scaling = np.float32(generation.scaling_factor)
        self._shift = np.float32(generation.shift_factor)
        self._statistics: Optional[tuple[Array, Array]] = None
        if generation.latents_mean is not None and generation.latents_std is not None:
            self._statistics = (
                np.array(generation.latents_mean, np.float32).reshape(1, -1, 1, 1),
                np.array(generation.latents_std, np.float32).reshape(1, -1, 1, 1),
            )

    def decode(self, latents: Array, around: Optional[tuple[Array, Array]] = None) -> Array:
        """Return a picture in −1…1, (1, channels, height, width).

        ``around`` are a picture and the mask of what was drawn anew in it, as they are where they
        begin an image. Only some decoders look at them.
        """
        if self._statistics is None:
            values = latents / self._scaling + self._shift
        else:
            mean, std = self._statistics
            values = latents * std / self._scaling + mean
        conditions = self._conditions(values.shape, around)
        tile = self._components.decode_tile
        if tile is None or conditions or max(values.shape[2:]) <= tile:
            return self._run("decoder", {"latent_sample": values, **conditions})
        self._require_size(tile)
        return decode_in_tiles(
            lambda part: self._run("decoder", {"latent_sample": part}), values, tile
        )

    def encode(self, picture: Array, noise: Noise, *, for_inpainting: bool = False) -> Array:
        """Return the latents of a picture in −1…1.

        They are drawn from the encoder's distribution, mean and logarithm of the variance, as
        ``DiagonalGaussianDistribution`` of diffusers draws them; a tiny autoencoder has none.
        Means and deviations of channels are not applied ``for_inpainting``: diffusers' pipelines
        decode with them and encode without.
        """
        values = self._run("encoder", {"sample": picture})
        if self._is_stochastic:
            mean, log_variance = np.split(values, 2, axis=1)
            deviation = np.exp(np.float32(0.5) * np.clip(log_variance, -30.0, 20.0))
            values = mean + deviation * noise(mean.shape)
        if self._statistics is None or for_inpainting:
            return (values - self._shift) * self._scaling
        mean, std = self._statistics
        normalized: Array = (values - mean) * self._scaling / std
        return normalized

    def mode(self, picture: Array) -> Array:
        """Return the likeliest latents of a picture in −1…1, as the encoder scales them."""
        values = self._run("encoder", {"sample": picture})
        return np.split(values, 2, axis=1)[0] if self._is_stochastic else values

    def scaled_mode(self, picture: Array) -> Array:
        """Return the likeliest latents of a picture in −1…1, scaled as those of images are."""
        return self.mode(picture) * self._scaling

    def skip(self, shape: tuple[int, ...], noise: Noise) -> None:
        """Draw what `encode` would draw for latents of a shape, without encoding anything."""
        if self._is_stochastic:
            noise(shape)

    @property
    def _is_stochastic(self) -> bool:
        return self._components.package.by_role("encoder").first_output == "latent_parameters"

    def _require_size(self, tile: int) -> None:
        """Raise RunnerFailure (bad-request) where the decoder's graph takes no tiles of a size."""
        decoder = self._components.package.by_role("decoder")
        fixed = [it for it in decoder.inputs["latent_sample"].shape[2:] if isinstance(it, int)]
        if fixed and max(fixed) != tile:
            raise RunnerFailure(
                "bad-request",
                f"The decoder's graph takes {max(fixed)} latents a side, and so no tiles of "
                f"{tile}.",
                "Leave the tiles out, or build the package with open axes, or --decode-tile.",
            )

    def _conditions(
        self, latents: tuple[int, ...], around: Optional[tuple[Array, Array]]
    ) -> dict[str, Array]:
        """Return what else the decoder takes. Where all is drawn anew it looks at no picture."""
        package = self._components.package
        inputs = package.by_role("decoder").inputs
        if CONDITION_PICTURE not in inputs:
            return {}
        if around is None:
            factor = package.generation.vae_scale_factor
            size = (latents[2] * factor, latents[3] * factor)
            channels = inputs[CONDITION_PICTURE].shape[1]
            assert isinstance(channels, int)
            around = (
                np.zeros((1, channels, *size), np.float32),
                np.ones((1, 1, *size), np.float32),
            )
        return {CONDITION_PICTURE: around[0], CONDITION_MASK: around[1]}

    def _run(self, role: str, values: Mapping[str, Array]) -> Array:
        component = self._components.package.by_role(role)
        fixed = next(iter(component.inputs.values())).shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        output = component.first_output
        inputs = {name: np.repeat(value, batch, 0) for name, value in values.items()}
        return self._components.run(component.name, inputs, [output])[output][:1]
