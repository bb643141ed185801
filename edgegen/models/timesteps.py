"""Whether a pipeline's scheduler asks its denoiser at whole timesteps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WHOLE = frozenset(
    {
        *("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler"),
        *("PNDMScheduler", "LCMScheduler", "TCDScheduler", "UniPCMultistepScheduler"),
        *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
        *("DEISMultistepScheduler", "SASolverScheduler"),
    }
)
"""These round their timesteps in every configuration (diffusers 0.42)."""
SPACED = frozenset(
    {
        *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"),
        "HeunDiscreteScheduler",
    }
)
"""These do where they count steps ("leading", "trailing"), not where they divide the whole range,
nor where sigmas of a rule of their own are put between the steps."""
_WITHOUT_RULES = "EulerAncestralDiscreteScheduler"
_SIGMA_RULES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def has_whole_timesteps(config: Mapping[str, Any]) -> bool:
    """Return whether every timestep of a scheduler is a whole number, by its class and options.

    A scheduler that is not known is taken for one with fractions.
    """
    name = config["_class_name"]
    if name in WHOLE:
        return True
    spaced = config.get("timestep_spacing", "linspace") in ("leading", "trailing")
    ruled = name != _WITHOUT_RULES and any(config.get(rule) for rule in _SIGMA_RULES)
    return name in SPACED and spaced and not ruled
