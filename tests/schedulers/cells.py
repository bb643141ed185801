"""The cells of the matrix: schedulers × configurations × options × starts × steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from edgegen_runner.schedulers import SCHEDULERS, SHORT_NAMES, load_scheduler

from tests.schedulers.sides import WAYS, Cell, diffusers_class

STABLE_DIFFUSION_1: Mapping[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}
PUBLIC: Mapping[str, Mapping[str, Any]] = {
    "Stable Diffusion 1.5": STABLE_DIFFUSION_1,
    "Stable Diffusion 2.1-v": {**STABLE_DIFFUSION_1, "prediction_type": "v_prediction"},
    "SDXL": {
        **STABLE_DIFFUSION_1,
        "interpolation_type": "linear",
        "prediction_type": "epsilon",
        "sample_max_value": 1.0,
        "timestep_spacing": "leading",
        "use_karras_sigmas": False,
    },
    "Karras": {
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "prediction_type": "epsilon",
        "use_karras_sigmas": True,
    },
    "zero SNR": {
        **STABLE_DIFFUSION_1,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    },
}
"""Configurations as public models have them, whatever class they name."""

BARE: Mapping[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
}
"""What a model of 2022 says, and no more."""

OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "prediction_type": ("epsilon", "v_prediction", "sample"),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "beta_schedule": ("linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"),
    "num_train_timesteps": (1000, 500),
    "steps_offset": (0, 1, 3),
    "rescale_betas_zero_snr": (True,),
    "use_karras_sigmas": (True,),
    "use_exponential_sigmas": (True,),
    "use_beta_sigmas": (True,),
    "sigma_min": (0.1,),
    "sigma_max": (8.0,),
    "final_sigmas_type": ("zero", "sigma_min"),
    "thresholding": (True,),
    "clip_sample": (True, False),
    "clip_sample_range": (0.5,),
    "set_alpha_to_one": (True, False),
    "skip_prk_steps": (True, False),
    "variance_type": (
        *("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
        *("learned", "learned_range", None),
    ),
    "interpolation_type": ("linear", "log_linear"),
    "timestep_type": ("discrete", "continuous"),
    "solver_order": (1, 2, 3),
    "algorithm_type": (
        "dpmsolver++",
        "sde-dpmsolver++",
        "dpmsolver",
        "sde-dpmsolver",
        "deis",
        "data_prediction",
        "noise_prediction",
    ),
    "solver_type": ("midpoint", "heun", "bh1", "bh2", "logrho"),
    "lower_order_final": (True, False),
    "euler_at_final": (True,),
    "use_lu_lambdas": (True,),
    "lambda_min_clipped": (-5.1,),
    "predict_x0": (False,),
    "disable_corrector": ([0], [1, 2]),
    "original_inference_steps": (50, 20),
    "timestep_scaling": (1.0,),
    "use_flow_sigmas": (True,),
    "sigma_schedule": ("karras", "exponential"),
    "sigma_data": (1.0,),
    "rho": (5.0,),
    "s_noise": (0.5,),
    "clip_denoised": (True, False),
    "noise_sampler_seed": (11,),
    "predictor_order": (1, 2, 3),
    "corrector_order": (1, 2, 3),
}
"""Values to try of each option, where a class has it."""

STARTS = ("SD, text", "SD, image", "SD, mask", "SDXL, text", "SDXL, image", "SDXL, mask")


def cells() -> Iterator[Cell]:
    """Yield every cell, always in the same order."""
    yield from pairs()
    yield from options()
    yield from pairs_of_options()
    yield from steps_and_strengths()


def pairs() -> Iterator[Cell]:
    """Yield every package's scheduler × every other one, over public configurations.

    Of the ways to draw each other scheduler takes two, each pair two others.
    """
    ways = itertools.cycle(WAYS)
    for own, public in itertools.product(SCHEDULERS, PUBLIC):
        config = saved(own, public)
        for way in WAYS:  # another scheduler doesn't ask whose the bare configuration is
            yield Cell(way=way, own=own, config=PUBLIC[public], steps=5)
            if config is not None:
                yield Cell(way=way, own=own, config=config, steps=5)
        for wanted in SHORT_NAMES if config is not None else ():
            for way in itertools.islice(ways, 2):
                yield Cell(way=way, own=own, config=config, wanted=wanted, steps=5)


def options() -> Iterator[Cell]:
    """Yield each scheduler with each of its options, from every start, in few and more steps."""
    configs = itertools.cycle((STABLE_DIFFUSION_1, BARE, BARE))
    for own in SCHEDULERS:
        for (name, value), way, steps in itertools.product(choices(own), STARTS, (1, 2, 4, 15)):
            config = {**next(configs), name: value}
            yield Cell(way=way, own=own, config=config, steps=steps)


def pairs_of_options() -> Iterator[Cell]:
    """Yield each scheduler with each two of its options."""
    ways = itertools.cycle(("SD, text", "SDXL, image"))
    for own in SCHEDULERS:
        for (one, a), (two, b) in itertools.combinations(choices(own), 2):
            if one != two:
                config, way = {**STABLE_DIFFUSION_1, one: a, two: b}, next(ways)
                yield Cell(way=way, own=own, config=config, steps=6, strength=_part(way))


def steps_and_strengths() -> Iterator[Cell]:
    """Yield each scheduler from each start in any number of steps, from any strength."""
    steps, strengths = (1, 2, 3, 4, 7, 10, 25, 50), (0.05, 0.3, 0.6, 0.99, 1.0)
    for wanted, way, count in itertools.product(SHORT_NAMES, WAYS, steps):
        own = "LCMScheduler" if WAYS[way].family == "latent-consistency" else "PNDMScheduler"
        for strength in strengths if WAYS[way].start != "text" else (None,):
            yield Cell(
                way=way,
                own=own,
                config=STABLE_DIFFUSION_1,
                wanted=wanted,
                steps=count,
                strength=strength,
                eta=0.6 if wanted == "ddim" and count % 2 and way != "DDPM" else 0.0,
                guidance=1.0 if count == 3 else 3.0,
            )


@cache
def saved(own: str, public: str) -> Mapping[str, Any] | None:
    """Return what diffusers saves of a class that was made from a public configuration."""
    try:
        scheduler = diffusers_class(own).from_config(PUBLIC[public])
    except (ValueError, NotImplementedError):
        return None
    config = json.loads(scheduler.to_json_string())
    return {key: value for key, value in config.items() if not key.startswith("_")}


@cache
def choices(own: str) -> tuple[tuple[str, Any], ...]:
    scheduler: Any = load_scheduler({"_class_name": own})
    known = {field.name for field in fields(scheduler.options)}
    return tuple((name, value) for name in OPTIONS if name in known for value in OPTIONS[name])


def _part(way: str) -> float | None:
    return None if WAYS[way].start == "text" else 0.6
