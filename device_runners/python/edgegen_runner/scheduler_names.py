"""The names of diffusion schedulers, and what is known of them without their arithmetic.

Nothing here needs numpy: commands list these names in their help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
"""diffusers class name -> module and class in `edgegen_runner.schedulers`."""

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

_OTHER_MODELS = "it is for models of other families"

LACKED_BECAUSE: Mapping[str, str] = {
    "DPMSolverSDEScheduler": "its noise is torchsde's, seeded by torch's global generator: in "
    "diffusers, too, a seed draws another picture each time",
    "IPNDMScheduler": "it gives models times from 0 to 1, with which none of these was trained, "
    "and adds no noise to pictures",
    "FlowMatchHeunDiscreteScheduler": _OTHER_MODELS,
    "FlowMatchLCMScheduler": _OTHER_MODELS,
    "SCMScheduler": _OTHER_MODELS,
    "ScoreSdeVeScheduler": _OTHER_MODELS,
}
"""A class of diffusers that the runner lacks -> why."""

REPLACEMENTS: Mapping[str, tuple[str, ...]] = {
    "DPMSolverSDEScheduler": ("dpmsolver++-sde-karras",),
    "IPNDMScheduler": ("pndm",),
    **{name: () for name, why in LACKED_BECAUSE.items() if why == _OTHER_MODELS},
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
