"""The diffusion schedulers of the runner: numpy only, with the numbers of diffusers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Optional

from .base import Array, Noise, Scheduler, Timestep, UnsupportedScheduler
from .options import explicit

__all__ = [
    "REPLACEMENTS",
    "SCHEDULERS",
    "SHORT_NAMES",
    "TWO_CALLS_A_STEP",
    "Array",
    "Noise",
    "Scheduler",
    "Timestep",
    "UnsupportedScheduler",
    "calls_of",
    "explicit",
    "load_scheduler",
]

SCHEDULERS: dict[str, str] = {
    "CMStochasticIterativeScheduler": "consistency:CMStochasticIterativeScheduler",
    "DDIMParallelScheduler": "ddim:DDIMParallelScheduler",
    "DDIMScheduler": "ddim:DDIMScheduler",
    "DDPMParallelScheduler": "ddpm:DDPMParallelScheduler",
    "DDPMScheduler": "ddpm:DDPMScheduler",
    "DEISMultistepScheduler": "deis:DEISMultistepScheduler",
    "DPMSolverMultistepScheduler": "dpmsolver:DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep:DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler": "edm_dpmsolver:EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler": "edm_euler:EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral:EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler": "euler:EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler:FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler": "heun:HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "kdpm2_ancestral:KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler": "kdpm2:KDPM2DiscreteScheduler",
    "LCMScheduler": "lcm:LCMScheduler",
    "LMSDiscreteScheduler": "lms:LMSDiscreteScheduler",
    "PNDMScheduler": "pndm:PNDMScheduler",
    "SASolverScheduler": "sasolver:SASolverScheduler",
    "TCDScheduler": "tcd:TCDScheduler",
    "UniPCMultistepScheduler": "unipc:UniPCMultistepScheduler",
}
"""diffusers class name -> module and class in this package."""

_KARRAS = {"use_karras_sigmas": True, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_ODE = {"algorithm_type": "dpmsolver++"}

SHORT_NAMES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "kdpm2-ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmsolver++": ("DPMSolverMultistepScheduler", _ODE),
    "dpmsolver++-karras": ("DPMSolverMultistepScheduler", {**_ODE, **_KARRAS}),
    "dpmsolver++-sde": ("DPMSolverMultistepScheduler", _SDE),
    "dpmsolver++-sde-karras": ("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "dpmsolver++-singlestep": ("DPMSolverSinglestepScheduler", _ODE),
    "deis": ("DEISMultistepScheduler", {"algorithm_type": "deis"}),
    "sasolver": ("SASolverScheduler", {"algorithm_type": "data_prediction"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "consistency": ("CMStochasticIterativeScheduler", {}),
    "edm-euler": ("EDMEulerScheduler", {}),
    "edm-dpmsolver++": ("EDMDPMSolverMultistepScheduler", _ODE),
    "flow-match-euler": ("FlowMatchEulerDiscreteScheduler", {}),
}
"""Name on the command line -> diffusers class name, and the options that the name implies."""

TWO_CALLS_A_STEP = (
    *("HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler"),
)
"""These call the model twice a step, but for the last step, which ends without noise."""

REPLACEMENTS: Mapping[str, tuple[str, ...]] = {
    "DPMSolverSDEScheduler": ("dpmsolver++-sde-karras",),
    "IPNDMScheduler": ("pndm",),
    # These belong to models that are prepared in another way, and nothing here replaces them.
    "FlowMatchHeunDiscreteScheduler": (),
    "FlowMatchLCMScheduler": (),
    "SCMScheduler": (),
    "ScoreSdeVeScheduler": (),
}
"""A class of diffusers that the runner lacks -> short names of those that solve the same."""


def calls_of(scheduler: str, steps: int) -> int:
    """Return how many times a scheduler, by any of its names, calls the model in so many steps.

    PNDM's one call more is left out.

    >>> calls_of("heun", 10)
    19
    """
    class_name, _ = SHORT_NAMES.get(scheduler, (scheduler, {}))
    return 2 * steps - 1 if class_name in TWO_CALLS_A_STEP else steps


def load_scheduler(config: Mapping[str, Any], name: Optional[str] = None) -> Scheduler:
    """Make a scheduler from a ``scheduler_config.json``.

    Args:
        config: The file's keys and values; ``_class_name`` is the diffusers class.
        name: Another scheduler to make from the config: a diffusers class name, or a short one of
            `SHORT_NAMES`. As with diffusers' ``Other.from_config(scheduler.config)``, the options
            that both have carry over, the others are ignored, and missing ones take the defaults of
            the class that is made.

    Raises:
        UnsupportedScheduler: The runner does not have the scheduler, or not with such an option.
    """
    wanted = config.get("_class_name") if name is None else name
    class_name, implied = SHORT_NAMES.get(str(wanted), (str(wanted), {}))
    if class_name not in SCHEDULERS:
        raise UnsupportedScheduler(_unknown(None if wanted is None else class_name[:80]))
    module_name, _, attribute = SCHEDULERS[class_name].partition(":")
    scheduler_class = getattr(import_module(f".{module_name}", __name__), attribute)
    scheduler: Scheduler = scheduler_class.from_config({**explicit(config), **implied})
    return scheduler


def _unknown(wanted: Optional[str]) -> str:
    if wanted is None:
        return "The scheduler config has no _class_name. Add it, or name a scheduler."
    if wanted in REPLACEMENTS:
        instead = " or ".join(REPLACEMENTS[wanted])
        reason = f"In its place: {instead}." if instead else "None that it has does the same."
        return f"The runner has no {wanted}. {reason}"
    known = [*SCHEDULERS, *SHORT_NAMES]
    near = difflib.get_close_matches(wanted, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"The runner has no scheduler {wanted!r}. {hint}It has {', '.join(known)}."
