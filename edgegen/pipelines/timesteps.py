"""Says whether a pipeline's scheduler asks its denoiser at whole timesteps."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.codec import load_python_json_object
from edgegen.pipelines.read import scheduler_class

WHOLE = frozenset(
    {
        *("DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LCMScheduler"),
        *("DPMSolverMultistepScheduler", "UniPCMultistepScheduler"),
    }
)
"""These round their timesteps in every configuration (diffusers 0.42)."""
SPACED = frozenset(
    {"EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler"}
)
"""These do where they count steps ("leading", "trailing"), not where they divide the whole range,
nor where sigmas of a rule of their own are put between the steps."""
_WITHOUT_RULES = "EulerAncestralDiscreteScheduler"
_SIGMA_RULES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def has_whole_timesteps(folder: Path) -> bool:
    """Tell whether every timestep of a pipeline's own scheduler is a whole number.

    A scheduler that is not known is taken for one with fractions. Raises SourceError where its
    config cannot be read.
    """
    name = scheduler_class(folder)
    if name in WHOLE:
        return True
    config = load_python_json_object(folder / "scheduler" / "scheduler_config.json")
    spaced = config.get("timestep_spacing", "linspace") in ("leading", "trailing")
    ruled = name != _WITHOUT_RULES and any(config.get(rule) for rule in _SIGMA_RULES)
    return name in SPACED and spaced and not ruled
