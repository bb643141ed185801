"""Between pictures and latents, with the variational autoencoder's two halves."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..residency import Components
from ..schedulers import Noise

Array = npt.NDArray[Any]


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

    def decode(self, latents: Array) -> Array:
        """Return a picture in −1…1, (1, channels, height, width)."""
        if self._statistics is None:
            values = latents / self._scaling + self._shift
        else:
            mean, std = self._statistics
            values = latents * std / self._scaling + mean
        return self._run("decoder", "latent_sample", values)

    def encode(self, picture: Array, noise: Noise, *, for_inpainting: bool = False) -> Array:
        """Return the latents of a picture in −1…1.

        They are drawn from the encoder's distribution, mean and logarithm of the variance, as
        ``DiagonalGaussianDistribution`` of diffusers draws them; a tiny autoencoder has none.
        Means and deviations of channels are not applied ``for_inpainting``: diffusers' pipelines
        decode with them and encode without.
        """
        values = self._run("encoder", "sample", picture)
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
        values = self._run("encoder", "sample", picture)
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

    def _run(self, role: str, input_name: str, values: Array) -> Array:
        component = self._components.package.by_role(role)
        fixed = component.inputs[input_name].shape[0]
        batch = fixed if isinstance(fixed, int) else 1
        output = component.first_output
        inputs = {input_name: np.repeat(values, batch, 0)}
        return self._components.run(component.name, inputs, [output])[output][:1]
