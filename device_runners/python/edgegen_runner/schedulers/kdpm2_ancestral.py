"""DPM-Solver-2 with ancestral noise (k-diffusion's ``sample_dpm_2_ancestral``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Array, Noise
from .kdpm2_steps import KDPM2Options, KDPM2Scheduler
from .sigmas import ups_and_downs


@dataclass(frozen=True)
class KDPM2AncestralDiscreteOptions(KDPM2Options):
    """Options of diffusers' ``KDPM2AncestralDiscreteScheduler``."""

    scheduler: ClassVar[str] = "KDPM2AncestralDiscreteScheduler"


class KDPM2AncestralDiscreteScheduler(KDPM2Scheduler[KDPM2AncestralDiscreteOptions]):
    """Step below the next noise level, and add noise up to it."""

    options_class = KDPM2AncestralDiscreteOptions
    _ups: Array
    """The deviation of the noise that each step ends with: (steps,)."""

    def _ends_of(self, levels: Array) -> Array:
        self._ups, downs = ups_and_downs(self.name, levels)
        return downs

    def _ended(self, sample: Array, step: int, noise: Noise) -> Array:
        sample += noise(sample.shape) * self._ups[step]
        return sample
