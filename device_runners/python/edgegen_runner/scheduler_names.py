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
    "DPMSolverSDEScheduler": "dpmsolver_sde:DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep:DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler": "edm_dpmsolver:EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler": "edm_euler:EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral:EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler": "euler:EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler:FlowMatchEulerDiscreteScheduler",
    "HeunDiscreteScheduler": "heun:HeunDiscreteScheduler",
    "IPNDMScheduler": "ipndm:IPNDMScheduler",
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
    "ipndm": ("IPNDMScheduler", {}),
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
    "dpmsolver-sde": ("DPMSolverSDEScheduler", {}),
    "dpmsolver-sde-karras": ("DPMSolverSDEScheduler", _KARRAS),
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
    "DPMSolverSDEScheduler",
)
"""These call the model twice a step, but for the last step, which ends without noise."""

_OTHER_MODELS = "it is for models of other families"
_INVERTS = "it goes from a picture to its noise, and draws nothing"

LACKED_BECAUSE: Mapping[str, str] = {
    "DDIMInverseScheduler": _INVERTS,
    "DPMSolverMultistepInverseScheduler": _INVERTS,
    "RePaintScheduler": "its steps take a picture and a mask, which RePaintPipeline alone gives",
    "ConsistencyDecoderScheduler": "it draws in an autoencoder, ConsistencyDecoderVAE",
    "AmusedScheduler": _OTHER_MODELS,
    "BlockRefinementScheduler": _OTHER_MODELS,
    "CogVideoXDDIMScheduler": _OTHER_MODELS,
    "CogVideoXDPMScheduler": _OTHER_MODELS,
    "CosineDPMSolverMultistepScheduler": _OTHER_MODELS,
    "DDPMWuerstchenScheduler": _OTHER_MODELS,
    "DiscreteDDIMScheduler": _OTHER_MODELS,
    "EntropyBoundScheduler": _OTHER_MODELS,
    "FlowMapEulerDiscreteScheduler": _OTHER_MODELS,
    "FlowMatchHeunDiscreteScheduler": _OTHER_MODELS,
    "FlowMatchLCMScheduler": _OTHER_MODELS,
    "HeliosDMDScheduler": _OTHER_MODELS,
    "HeliosScheduler": _OTHER_MODELS,
    "KarrasVeScheduler": _OTHER_MODELS,
    "LTXEulerAncestralRFScheduler": _OTHER_MODELS,
    "MiniMaxH3Scheduler": _OTHER_MODELS,
    "PiflowScheduler": _OTHER_MODELS,
    "RFD4ProteinaScheduler": _OTHER_MODELS,
    "SCMScheduler": _OTHER_MODELS,
    "ScoreSdeVeScheduler": _OTHER_MODELS,
    "ScoreSdeVpScheduler": _OTHER_MODELS,
    "UnCLIPScheduler": _OTHER_MODELS,
    "VQDiffusionScheduler": _OTHER_MODELS,
}
"""A class of diffusers that the runner lacks -> why."""


def calls_of(scheduler: str, steps: int) -> int:
    """Return how many times a scheduler, by any of its names, calls the model in so many steps.

    PNDM's one call more is left out.

    >>> calls_of("heun", 10)
    19
    """
    class_name, _ = SHORT_NAMES.get(scheduler, (scheduler, {}))
    return 2 * steps - 1 if class_name in TWO_CALLS_A_STEP else steps
