"""Which call of the model a trajectory is at, for the schedulers that count calls."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .base import Timestep


class StepCursor:
    """Count the calls of one trajectory.

    The first call's timestep says where the trajectory begins, unless ``begin`` does. As in
    diffusers, a timestep that occurs twice then means its second place, so that image-to-image
    does not skip a noise level; the schedule's own first timestep always means place 0 (where
    diffusers would run past the end of its sigmas).
    """

    def __init__(self, timesteps: npt.NDArray[Any]) -> None:
        self._timesteps = timesteps
        self.begin: Optional[int] = None
        self.index: Optional[int] = None

    def at(self, timestep: Timestep) -> int:
        """Return the index of the call that is being made at this timestep."""
        if self.index is None:
            self.index = self._find(timestep) if self.begin is None else self.begin
        return self.index

    def advance(self) -> None:
        """Go on to the next call."""
        if self.index is not None:
            self.index += 1

    def noise_index(self, timestep: Timestep) -> int:
        """Return the index of the noise level that ``add_noise`` adds for this timestep."""
        if self.begin is None:
            return self._find(timestep)
        return self.begin if self.index is None else self.index

    def _find(self, timestep: Timestep) -> int:
        places = np.flatnonzero(self._timesteps == self._timesteps.dtype.type(timestep))
        if places.size == 0:
            raise ValueError(
                f"{timestep} is not a timestep of this schedule. "
                "Call set_timesteps first, and step with its timesteps."
            )
        return int(places[0]) if places[0] == 0 or places.size == 1 else int(places[1])
