"""DPM-Solver-2 over noise levels (arXiv 2206.00364, algorithm 2 with a midpoint; k-diffusion's)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .kdpm2_steps import KDPM2Options, KDPM2Scheduler


@dataclass(frozen=True)
class KDPM2DiscreteOptions(KDPM2Options):
    """Options of diffusers' ``KDPM2DiscreteScheduler``."""

    scheduler: ClassVar[str] = "KDPM2DiscreteScheduler"


class KDPM2DiscreteScheduler(KDPM2Scheduler[KDPM2DiscreteOptions]):
    """Step to the next noise level, without noise."""

    options_class = KDPM2DiscreteOptions
