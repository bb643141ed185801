"""What every scheduler of the runner offers to the denoising loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Optional, Protocol, Union

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
"""A sample, a model output or noise: float32, (batch, channels, height, width)."""

Noise = Callable[[tuple[int, ...]], Array]
"""Draws float32 standard normals of a shape; called when diffusers calls ``randn_tensor``."""

Timestep = Union[int, float, np.integer[Any], np.floating[Any]]
"""One element of a scheduler's ``timesteps``, or the same number in Python."""


class UnsupportedScheduler(ValueError):  # noqa: N818 - reads as the sentence that it says
    """Say which scheduler, or which value of which option, this runner does not have."""


class Scheduler(Protocol):
    """Turn model outputs into samples, with the numbers of the diffusers class of the same name.

    All arrays are float32 with axes (batch, channels, height, width). ``timesteps`` and ``sigmas``
    are empty or None until `set_timesteps` has run; a scheduler holds the state of one trajectory,
    which `set_timesteps` starts anew.
    """

    @property
    def name(self) -> str:
        """Return the name of the diffusers class."""

    @property
    def options(self) -> Any:
        """Return the options, a dataclass whose fields are those of the diffusers class."""

    @property
    def order(self) -> int:
        """Return the order as diffusers gives it (it skips ``start * order`` calls in img2img)."""

    @property
    def adds_noise(self) -> bool:
        """Return whether `add_noise` does: whether an image can start from a picture."""

    @property
    def timesteps(self) -> npt.NDArray[Any]:
        """Return the timesteps, one for each call of the model: (calls,), int64 or float32."""

    @property
    def sigmas(self) -> Optional[Array]:
        """Return the noise level before each call and after the last, or None: (calls + 1,)."""

    @property
    def init_noise_sigma(self) -> float:
        """Return the standard deviation of the first sample."""

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory of ``num_inference_steps`` steps and forget the last one.

        Args:
            num_inference_steps: How many steps, at least 1. PNDM makes more calls than steps.
            mu: Dynamic time shift of a flow-matching model; see its scheduler's options.
            sigmas: Noise levels to use instead of the spaced ones, flow matching only: (steps,).

        Raises:
            ValueError: The number of steps is out of range, or the scheduler takes no mu or sigmas.
        """

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call, as image-to-image does, not the first; after `set_timesteps`."""

    def seed_noise(self, seed: int) -> None:
        """Begin the image of this seed, where noise is not drawn by `step`'s ``noise``."""

    def can_start_at(self, timestep: Timestep) -> bool:
        """Return whether a trajectory can begin at this timestep."""

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample as the model takes it at this timestep."""

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep.

        Args:
            model_output: What the model predicted, after guidance; float32.
            timestep: The element of ``timesteps`` that the model was called with.
            sample: The sample before `scale_model_input`; not changed.
            noise: Draws the random numbers of a stochastic scheduler.
        """

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this timestep of the forward process."""
