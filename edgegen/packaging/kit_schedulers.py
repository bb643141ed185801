"""The schedulers of the kits, and the options of each with which a kit draws what diffusers does.

They are what the kits' own sources refuse by: `PackageScheduler.swift`, `Scheduler.kt` and the
schedulers beside it, `text2image.py`. tests/kits holds each table against its kit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Options = Mapping[str, tuple[object, ...]]
"""The values that options may have, by name; None: it may be left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KitScheduler:
    """A scheduler as a kit has it: `options` it checks, `xl_options` of Stable Diffusion XL, too.

    With fewer than `least_steps` it draws another picture.
    """

    options: Options
    xl_options: Options = field(default_factory=dict)
    least_steps: int = 1


_UNSET = (None, False)
_LINEAR = ("linear", "scaled_linear")

_APPLE_NOISE: Options = {
    "num_train_timesteps": (1000, None),
    "beta_schedule": ("scaled_linear",),
    "beta_start": (0.00085,),
    "beta_end": (0.012,),
    "prediction_type": ("epsilon", None),
    "rescale_betas_zero_snr": _UNSET,
    "use_karras_sigmas": _UNSET,
    "use_exponential_sigmas": _UNSET,
    "use_beta_sigmas": _UNSET,
    "trained_betas": _UNSET,
    "lambda_min_clipped": (*_UNSET, -math.inf),
}
APPLE: Mapping[str, KitScheduler] = {
    "PNDMScheduler": KitScheduler(
        options={
            **_APPLE_NOISE,
            "skip_prk_steps": (True,),
            "set_alpha_to_one": _UNSET,
            "timestep_spacing": ("leading", None),
        },
        xl_options={"steps_offset": (1,)},
        least_steps=2,
    ),
    "DPMSolverMultistepScheduler": KitScheduler(
        options={
            **_APPLE_NOISE,
            "algorithm_type": ("dpmsolver++", None),
            "solver_type": ("midpoint", None),
            "solver_order": (2, None),
            "timestep_spacing": ("linspace", None),
            "final_sigmas_type": ("sigma_min",),
            "euler_at_final": _UNSET,
            "use_lu_lambdas": _UNSET,
            "use_flow_sigmas": _UNSET,
            "thresholding": _UNSET,
        },
        least_steps=15,
    ),
}
"""Those of Apple's ml-stable-diffusion: each takes a number of steps, and nothing else."""

_KOTLIN_NOISE: Options = {
    "prediction_type": ("epsilon", "v_prediction", "sample", None),
    "timestep_spacing": ("leading", "linspace", "trailing", None),
    "beta_schedule": (*_LINEAR, "squaredcos_cap_v2", None),
    "thresholding": _UNSET,
    "trained_betas": _UNSET,
}
_LAST_SIGMA: Options = {"final_sigmas_type": ("zero", "sigma_min", None)}
KOTLIN: Mapping[str, KitScheduler] = {
    "DDIMScheduler": KitScheduler(options=_KOTLIN_NOISE),
    "DPMSolverMultistepScheduler": KitScheduler(
        options={
            **_KOTLIN_NOISE,
            **_LAST_SIGMA,
            "solver_order": (1, 2, None),
            "solver_type": ("midpoint", "heun", None),
            "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", None),
            "use_exponential_sigmas": _UNSET,
            "use_beta_sigmas": _UNSET,
            "use_lu_lambdas": _UNSET,
            "use_flow_sigmas": _UNSET,
            "variance_type": _UNSET,
        }
    ),
    "EulerAncestralDiscreteScheduler": KitScheduler(options=_KOTLIN_NOISE),
    "EulerDiscreteScheduler": KitScheduler(
        options={
            **_KOTLIN_NOISE,
            **_LAST_SIGMA,
            "interpolation_type": ("linear", None),
            "timestep_type": ("discrete", None),
            "use_exponential_sigmas": _UNSET,
            "use_beta_sigmas": _UNSET,
        }
    ),
    "LCMScheduler": KitScheduler(options=_KOTLIN_NOISE),
    "PNDMScheduler": KitScheduler(
        options={
            **_KOTLIN_NOISE,
            "prediction_type": ("epsilon", "v_prediction", None),
            "skip_prk_steps": (True,),
        }
    ),
}
"""Those of the Kotlin kit, which have the numbers of the runner's."""

_GENAI_PREDICTIONS = ("epsilon", "v_prediction", None)
GENAI: Mapping[str, KitScheduler] = {
    "DDIMScheduler": KitScheduler(
        options={"beta_schedule": _LINEAR, "clip_sample": (False,), "thresholding": _UNSET}
    ),
    "EulerAncestralDiscreteScheduler": KitScheduler(
        options={
            "beta_schedule": (*_LINEAR, None),
            "prediction_type": _GENAI_PREDICTIONS,
            "timestep_spacing": ("leading", "linspace", "trailing"),
        }
    ),
    "EulerDiscreteScheduler": KitScheduler(
        options={
            "beta_schedule": _LINEAR,
            "timestep_spacing": ("leading", "linspace", "trailing"),
            "use_beta_sigmas": _UNSET,
            "use_exponential_sigmas": _UNSET,
            "use_karras_sigmas": _UNSET,
        }
    ),
    "LCMScheduler": KitScheduler(
        options={"beta_schedule": (*_LINEAR, None), "prediction_type": ("epsilon", None)}
    ),
    "PNDMScheduler": KitScheduler(
        options={
            "beta_schedule": (*_LINEAR, None),
            "prediction_type": _GENAI_PREDICTIONS,
            "skip_prk_steps": (True,),
        }
    ),
}
"""Those of OpenVINO GenAI; an option must not be left out where GenAI's default is another."""
