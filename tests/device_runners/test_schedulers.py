"""Hold the runner's schedulers against diffusers' own, over whole trajectories.

Both sides run a closed loop: each feeds its own samples to the same synthetic denoiser. The noise
comes from two torch generators with one seed, whose states must agree at the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edgegen_runner.schedulers import (
    SCHEDULERS,
    SHORT_NAMES,
    UnsupportedScheduler,
    calls_of,
    dpmsolver_sde,
    load_scheduler,
)
from edgegen_runner.schedulers.brownian import BrownianPath

from tests.schedulers.sides import diffusers_class
from tests.schedulers.smooth import SmoothPath

# The step that each loop takes is held to this share of its sample's scale.
TOLERANCE = 1e-5
EPSILON = float(np.finfo(np.float32).eps)
RECORDED_PATHS = Path(__file__).parents[1] / "data" / "brownian_paths.json"
SHAPE = (2, 4, 8, 8)
NOISE_SEED = 5
# torch's square root is MKL's, which on some processors is a unit in the last place off for a fifth
# of all numbers. Sigmas inherit that, most where the SNR ends at zero, and so do timesteps that are
# found from sigmas and not rounded.
SIGMA_RTOL = 5e-6
FOUND_TIMESTEP_ATOL = 2e-4
FOUND_TIMESTEPS = ("CMStochastic", "DPMSolverSDE", "EDM", "KDPM2")
"""Classes of these names find timesteps from sigmas by every rule."""
ANGLE_ATOL = 3e-7
"""IPNDM's timesteps are angles, 0 to 1, whose sine and arc torch has a unit or two off."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*algorithm_types? dpmsolver.*:FutureWarning"),
    # diffusers calls numpy's functions on tensors.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def smooth_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpmsolver_sde, "BrownianPath", SmoothPath)  # as `reference` has


STABLE_DIFFUSION_1 = {
    "_class_name": "PNDMScheduler",
    "_diffusers_version": "0.6.0",
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
STABLE_DIFFUSION_2_V = {
    **STABLE_DIFFUSION_1,
    "_class_name": "DDIMScheduler",
    "prediction_type": "v_prediction",
}
ZERO_SNR_V = {
    **STABLE_DIFFUSION_2_V,
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}
SDXL = {
    **STABLE_DIFFUSION_1,
    "_class_name": "EulerDiscreteScheduler",
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
SD_TURBO = {
    **STABLE_DIFFUSION_1,
    "_class_name": "EulerDiscreteScheduler",
    "timestep_spacing": "trailing",
    "timestep_type": "discrete",
    "sigma_max": None,
    "sigma_min": None,
    "steps_offset": 1,
}
LCM_DREAMSHAPER = {
    "_class_name": "LCMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "dynamic_thresholding_ratio": 0.995,
    "num_train_timesteps": 1000,
    "original_inference_steps": 50,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
    "sample_max_value": 1.0,
    "set_alpha_to_one": True,
    "steps_offset": 1,
    "thresholding": False,
    "timestep_scaling": 10.0,
    "timestep_spacing": "leading",
    "trained_betas": None,
}
DDPM_CIFAR = {
    "_class_name": "DDPMScheduler",
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "beta_start": 0.0001,
    "clip_sample": True,
    "num_train_timesteps": 1000,
    "trained_betas": None,
    "variance_type": "fixed_large",
}
DDPM_CHURCH = {**DDPM_CIFAR, "variance_type": "fixed_small"}
STABLE_DIFFUSION_3 = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "shift": 3.0,
}
FLUX_DEV = {
    **STABLE_DIFFUSION_3,
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "use_dynamic_shifting": True,
}
FLOW_SOLVER = {
    **STABLE_DIFFUSION_1,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
}


def denoiser(sample: np.ndarray, timestep: float, channels: int) -> np.ndarray:
    """Predict noise smoothly and nonlinearly: most of a noisy sample, less of a clean one."""
    wide = sample.astype(np.float64)
    level = float(timestep) / 1000
    noise = (0.35 + 0.6 * level) * wide / np.sqrt(1 + 0.05 * wide**2)
    noise += 0.3 * np.sin(2 * np.roll(wide, 1, axis=-1) + 3 * level)
    if channels > sample.shape[1]:
        noise = np.concatenate([noise, np.abs(np.cos(wide)) * 0.5 + 0.1], axis=1)
    return noise.astype(np.float32)


def reference(config: dict[str, Any], class_name: str) -> Any:
    """Return diffusers' scheduler."""
    return diffusers_class(class_name).from_config(config)


def assert_same_trajectory(
    config: dict[str, Any],
    steps: int,
    name: str | None = None,
    *,
    channels: int = SHAPE[1],
    planning: dict[str, Any] | None = None,
    stepping: dict[str, Any] | None = None,
) -> float:
    """Run both loops; return the largest difference as a share of the sample's scale."""
    planning, stepping = planning or {}, stepping or {}
    class_name, implied = SHORT_NAMES.get(str(name), (name or config["_class_name"], {}))
    options = {**config, **implied}
    rules = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
    ruled = any(options.get(rule) for rule in rules)
    spaced = not ruled and not class_name.startswith(FOUND_TIMESTEPS)
    theirs = reference(options, class_name)
    ours = load_scheduler(config, name)
    assert ours.name == class_name
    assert ours.order == theirs.order

    their_steps = {"num_inference_steps": steps}
    if "sigmas" in planning and class_name == "UniPCMultistepScheduler":
        their_steps = {}
    theirs.set_timesteps(**their_steps, **planning)
    ours.set_timesteps(steps, **planning)
    if hasattr(theirs, "noise_sampler_seed"):
        theirs.noise_sampler_seed = NOISE_SEED
    ours.seed_noise(NOISE_SEED)
    assert ours.timesteps.dtype == theirs.timesteps.numpy().dtype
    if np.isnan(theirs.timesteps.numpy()).any():
        # The square root of what rounding left below zero: diffusers draws noise from there on.
        assert class_name == "KDPM2AncestralDiscreteScheduler"
        assert np.isfinite(ours.timesteps).all()
        return 0.0
    apart = 0 if spaced else FOUND_TIMESTEP_ATOL
    if class_name == "IPNDMScheduler":
        apart = ANGLE_ATOL
    np.testing.assert_allclose(ours.timesteps, theirs.timesteps.numpy(), rtol=0, atol=apart)
    if hasattr(theirs, "set_begin_index") and ours.timesteps[0] in ours.timesteps[1:]:
        theirs.set_begin_index(0)  # see the test of a repeated first timestep
    first_deviation = float(getattr(theirs, "init_noise_sigma", 1.0))
    assert ours.init_noise_sigma == pytest.approx(first_deviation, rel=SIGMA_RTOL)
    if ours.sigmas is not None:
        assert ours.sigmas.dtype == np.float32
        np.testing.assert_allclose(ours.sigmas, theirs.sigmas.numpy(), rtol=SIGMA_RTOL)

    first = np.random.RandomState(0).standard_normal(SHAPE).astype(np.float32)
    mine = first * np.float32(first_deviation)
    yours = torch.from_numpy(mine)
    my_generator, your_generator = torch.Generator(), torch.Generator()
    my_generator.manual_seed(1)
    your_generator.manual_seed(1)

    def noise(shape: tuple[int, ...]) -> np.ndarray:
        return torch.randn(shape, generator=my_generator).numpy()

    draws = "generator" in theirs.step.__code__.co_varnames
    worst, largest = 0.0, float(np.abs(mine).max())
    for my_timestep, your_timestep in zip(ours.timesteps, theirs.timesteps, strict=True):
        my_input = ours.scale_model_input(mine, my_timestep)
        your_input = yours
        if hasattr(theirs, "scale_model_input"):
            your_input = theirs.scale_model_input(yours, your_timestep)
        before = mine.copy()
        stepped = ours.step(
            denoiser(my_input, my_timestep, channels), my_timestep, mine, noise, **stepping
        )
        np.testing.assert_array_equal(mine, before, err_msg="step changed its argument")
        mine = stepped
        yours = theirs.step(
            torch.from_numpy(denoiser(your_input.numpy(), float(your_timestep), channels)),
            your_timestep,
            yours,
            **({"generator": your_generator} if draws else {}),
            **stepping,
        ).prev_sample
        assert mine.dtype == np.float32
        expected = yours.numpy()
        assert np.isfinite(expected).all()
        scale = float(max(1, np.abs(expected).max()))
        largest = max(largest, scale)
        difference = float(np.abs(mine - expected).max())
        # What the largest sample was rounded by stays in the smaller ones after it (zero SNR).
        assert difference <= TOLERANCE * scale + 2 * EPSILON * largest
        worst = max(worst, difference / scale)
    assert torch.equal(my_generator.get_state(), your_generator.get_state())
    return worst


MODELS = {
    "stable-diffusion-1": STABLE_DIFFUSION_1,
    "stable-diffusion-2-v": STABLE_DIFFUSION_2_V,
    "sdxl": SDXL,
    "sd-turbo": SD_TURBO,
    "lcm-dreamshaper": LCM_DREAMSHAPER,
}
OF_OTHER_MODELS = ("consistency", "edm-euler", "edm-dpmsolver++", "flow-match-euler")
TRIED_BELOW = "dpmsolver-sde-karras"
"""Its rule of sigmas is tried with those of the others, to keep the tests short."""
DIFFUSION_NAMES = [name for name in SHORT_NAMES if name not in (*OF_OTHER_MODELS, TRIED_BELOW)]


@pytest.mark.parametrize(
    "steps", [1, 10, *(pytest.param(it, marks=pytest.mark.slow) for it in (2, 4, 25, 50))]
)
@pytest.mark.parametrize("name", DIFFUSION_NAMES)
@pytest.mark.parametrize("model", MODELS)
def test_a_models_config_gives_the_trajectory_of_any_scheduler(model, name, steps):
    config = MODELS[model]
    if name == "pndm" and steps < 4 and "skip_prk_steps" not in config:
        with pytest.raises(ValueError, match="at least 4 steps"):
            load_scheduler(config, name).set_timesteps(steps)
        return
    assert_same_trajectory(config, steps, name)


@pytest.mark.parametrize("steps", [1, 2, 4, 10, 25, 50])
@pytest.mark.parametrize(
    "config",
    [
        *MODELS.values(),
        DDPM_CIFAR,
        DDPM_CHURCH,
        STABLE_DIFFUSION_3,
        {**STABLE_DIFFUSION_3, "shift": 1.0},
        {**STABLE_DIFFUSION_3, "_class_name": "EulerDiscreteScheduler"},
    ],
    ids=lambda config: config["_class_name"],
)
def test_a_config_as_it_is_gives_its_own_trajectory(config, steps):
    assert_same_trajectory(config, steps)


@pytest.mark.parametrize("steps", [1, 3, 20, 50])
@pytest.mark.parametrize(
    "name",
    [
        *("ddim", "ddpm", "euler", "euler-ancestral", "dpmsolver++", "dpmsolver++-sde"),
        *("dpmsolver++-karras", "unipc", "lcm"),
    ],
)
def test_zero_terminal_snr_gives_the_trajectory(name, steps):
    assert_same_trajectory(ZERO_SNR_V, steps, name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sigma_schedule": "exponential", "final_sigmas_type": "sigma_min"},
        {"sigma_min": 0.02, "sigma_max": 14.0, "rho": 5.0},
        {"sigma_data": 1.0, "prediction_type": "v_prediction", "s_noise": 0.7},
        {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun", "clip_denoised": False},
        {"solver_order": 3, "lower_order_final": False, "thresholding": True},
    ],
    ids=lambda options: "-".join(options) or "default",
)
@pytest.mark.parametrize("steps", [1, 2, 5, 20])
@pytest.mark.parametrize(
    "class_name",
    ["CMStochasticIterativeScheduler", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"],
)
def test_a_scheduler_of_models_prepared_in_another_way_gives_the_trajectory(
    class_name, steps, options
):
    assert_same_trajectory({"_class_name": class_name, **options}, steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [7, pytest.param(30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", DIFFUSION_NAMES)
def test_every_timestep_spacing_gives_the_trajectory(name, spacing, steps):
    config = {**STABLE_DIFFUSION_1, "timestep_spacing": spacing, "steps_offset": 0}
    assert_same_trajectory(config, steps, name)


@pytest.mark.parametrize(
    "betas",
    [
        {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": list(np.linspace(0.001, 0.03, 500)), "num_train_timesteps": 500},
    ],
    ids=["linear", "cosine", "trained"],
)
@pytest.mark.parametrize("name", DIFFUSION_NAMES)
def test_every_beta_schedule_gives_the_trajectory(name, betas):
    if name == "ipndm" and "trained_betas" in betas:
        with pytest.raises(UnsupportedScheduler, match="as many steps as there are"):
            load_scheduler({**STABLE_DIFFUSION_1, **betas}, name)
        return
    assert_same_trajectory({**STABLE_DIFFUSION_1, **betas}, 12, name)


LACK_SAMPLE = (
    *("pndm", "euler-ancestral", "kdpm2", "kdpm2-ancestral"),
    *("dpmsolver-sde", "dpmsolver-sde-karras"),
)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", DIFFUSION_NAMES)
def test_every_prediction_type_gives_the_trajectory_or_is_refused(name, prediction):
    config = {**STABLE_DIFFUSION_1, "prediction_type": prediction}
    if prediction == "sample" and name in LACK_SAMPLE:  # as in diffusers
        with pytest.raises(UnsupportedScheduler, match="prediction_type='sample'"):
            load_scheduler(config, name)
        return
    assert_same_trajectory(config, 12, name)


@pytest.mark.parametrize(
    "options",
    [
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0},
        {"use_exponential_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0},
        {"use_karras_sigmas": True, "beta_schedule": "squaredcos_cap_v2"},
        {"use_beta_sigmas": True},
        {"use_beta_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize(
    "steps", [10, *(pytest.param(it, marks=pytest.mark.slow) for it in (2, 25))]
)
@pytest.mark.parametrize(
    "name",
    [
        *("lms", "euler", "dpmsolver++", "dpmsolver++-sde", "unipc", "heun", "kdpm2"),
        *("kdpm2-ancestral", "deis", "dpmsolver++-singlestep", "sasolver", "dpmsolver-sde"),
    ],
)
def test_every_rule_of_sigmas_gives_the_trajectory(name, steps, options):
    assert_same_trajectory({**STABLE_DIFFUSION_1, **options}, steps, name)


@pytest.mark.parametrize(
    "limits",
    [
        {"clip_sample": True, "clip_sample_range": 1.5},
        {"thresholding": True, "sample_max_value": 3.0},
        {"thresholding": True, "sample_max_value": 2.0, "dynamic_thresholding_ratio": 0.7},
        {"thresholding": True, "sample_max_value": 0.9},
        {"thresholding": True, "dynamic_thresholding_ratio": 1.0, "sample_max_value": 9.0},
    ],
    ids=["clipped", "thresholded", "ratio", "below-one", "maximum"],
)
@pytest.mark.parametrize("name", ["ddim", "ddpm", "lcm", "dpmsolver++", "unipc"])
def test_limits_on_the_original_sample_give_the_trajectory(name, limits):
    assert_same_trajectory({**STABLE_DIFFUSION_1, **limits}, 10, name)


@pytest.mark.parametrize("stepping", [{"eta": 0.5}, {"eta": 1.0, "use_clipped_model_output": True}])
@pytest.mark.parametrize("set_alpha_to_one", [True, False])
def test_ddim_with_noise_gives_the_trajectory(stepping, set_alpha_to_one):
    config = {**DDPM_CHURCH, "set_alpha_to_one": set_alpha_to_one}
    assert_same_trajectory(config, 20, "ddim", stepping=stepping)


def test_ddim_takes_eta_from_its_attribute_unless_a_step_gives_one():
    scheduler: Any = load_scheduler(STABLE_DIFFUSION_1, "ddim")
    scheduler.set_timesteps(4)
    sample = np.ones(SHAPE, np.float32)
    drawn: list[tuple[int, ...]] = []

    def noise(shape: tuple[int, ...]) -> np.ndarray:
        drawn.append(shape)
        return np.ones(shape, np.float32)

    scheduler.eta = 1.0
    scheduler.step(sample, scheduler.timesteps[0], sample, noise)
    scheduler.step(sample, scheduler.timesteps[0], sample, noise, eta=0.0)
    assert drawn == [SHAPE]


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_small_log", "fixed_large"])
@pytest.mark.parametrize("schedule", ["linear", "sigmoid", "laplace"])
def test_ddpm_with_a_fixed_variance_gives_the_trajectory(variance, schedule):
    config = {**DDPM_CIFAR, "variance_type": variance, "beta_schedule": schedule}
    assert_same_trajectory(config, 20)


@pytest.mark.parametrize("offset", [0, 1])  # at 1 the last step draws noise of the least variance
@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_ddpm_with_a_learned_variance_gives_the_trajectory(variance, offset):
    config = {**DDPM_CIFAR, "variance_type": variance, "steps_offset": offset}
    assert_same_trajectory(config, 20, channels=2 * SHAPE[1])


def test_ddpm_over_all_training_timesteps_gives_the_trajectory():
    assert_same_trajectory({**DDPM_CIFAR, "num_train_timesteps": 200}, 200)


@pytest.mark.parametrize("steps", [4, 5, 10, 25])
@pytest.mark.parametrize(
    "options", [{}, {"prediction_type": "v_prediction", "set_alpha_to_one": True}]
)
def test_pndm_with_runge_kutta_steps_gives_the_trajectory(steps, options):
    assert_same_trajectory({**DDPM_CHURCH, **options}, steps, "pndm")


@pytest.mark.parametrize(
    "options",
    [
        {"interpolation_type": "log_linear"},
        {"interpolation_type": "log_linear", "use_karras_sigmas": True},
        {"final_sigmas_type": "sigma_min"},
        {"prediction_type": "original_sample"},
        {
            "prediction_type": "v_prediction",
            "timestep_type": "continuous",
            "use_karras_sigmas": True,
            "sigma_min": 0.002,
            "sigma_max": 700.0,
        },
        {"timestep_type": "continuous"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_the_options_of_euler_give_the_trajectory(options):
    assert_same_trajectory({**STABLE_DIFFUSION_1, **options}, 20, "euler")


@pytest.mark.parametrize("steps", [2, 8, 20])
@pytest.mark.parametrize("solver", ["midpoint", "heun"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(
    "algorithm", ["dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"]
)
def test_every_dpm_solver_gives_the_trajectory(algorithm, order, solver, steps):
    config = {
        **STABLE_DIFFUSION_1,
        "_class_name": "DPMSolverMultistepScheduler",
        "algorithm_type": algorithm,
        "solver_order": order,
        "solver_type": solver,
        "final_sigmas_type": "zero" if algorithm.endswith("++") else "sigma_min",
    }
    if (algorithm, order) == ("sde-dpmsolver", 3):  # diffusers has no formula either
        with pytest.raises(UnsupportedScheduler, match="solver_order=3"):
            load_scheduler(config)
        return
    assert_same_trajectory(config, steps)


@pytest.mark.parametrize(
    "options",
    [
        {"use_lu_lambdas": True},
        {"use_lu_lambdas": True, "beta_schedule": "squaredcos_cap_v2"},
        {"lower_order_final": False},
        {"lower_order_final": False, "final_sigmas_type": "sigma_min", "solver_order": 3},
        {"euler_at_final": True, "final_sigmas_type": "sigma_min"},
        {"lambda_min_clipped": -5.1, "beta_schedule": "squaredcos_cap_v2"},
        {"lambda_min_clipped": -2.0, "timestep_spacing": "trailing"},
        {"algorithm_type": "deis", "solver_type": "logrho", "final_sigmas_type": "sigma_min"},
        {"solver_type": "bh2"},
        {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "thresholding": True},
        {
            "algorithm_type": "dpmsolver",
            "final_sigmas_type": "sigma_min",
            "prediction_type": "v_prediction",
        },
        {
            "algorithm_type": "sde-dpmsolver",
            "final_sigmas_type": "sigma_min",
            "prediction_type": "sample",
        },
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("steps", [6, 20])
def test_the_options_of_the_dpm_solver_give_the_trajectory(options, steps):
    config = {**STABLE_DIFFUSION_1, "_class_name": "DPMSolverMultistepScheduler", **options}
    assert_same_trajectory(config, steps)


def test_the_dpm_solver_drops_a_learned_variance():
    shape_of_three = (2, 3, 8, 8)
    config = {**DDPM_CHURCH, "variance_type": "learned_range"}
    theirs, ours = (
        reference(config, "DPMSolverMultistepScheduler"),
        load_scheduler(config, "dpmsolver++"),
    )
    theirs.set_timesteps(5)
    ours.set_timesteps(5)
    generator = np.random.RandomState(3)
    sample = generator.standard_normal(shape_of_three).astype(np.float32)
    output = generator.standard_normal((2, 6, 8, 8)).astype(np.float32)
    expected = theirs.step(
        torch.from_numpy(output), theirs.timesteps[0], torch.from_numpy(sample)
    ).prev_sample
    actual = ours.step(output, ours.timesteps[0], sample, np.zeros)
    np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 8, 20])
@pytest.mark.parametrize("solver", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_every_order_of_unipc_gives_the_trajectory(order, solver, steps):
    config = {
        **STABLE_DIFFUSION_1,
        "_class_name": "UniPCMultistepScheduler",
        "solver_order": order,
        "solver_type": solver,
        "final_sigmas_type": "sigma_min" if solver == "bh1" else "zero",
    }
    assert_same_trajectory(config, steps)


@pytest.mark.parametrize(
    "options",
    [
        {"predict_x0": False, "final_sigmas_type": "sigma_min"},
        {"predict_x0": False, "final_sigmas_type": "sigma_min", "prediction_type": "v_prediction"},
        {"predict_x0": False, "final_sigmas_type": "sigma_min", "prediction_type": "sample"},
        {"disable_corrector": [0, 1, 5]},
        {"lower_order_final": False, "final_sigmas_type": "sigma_min", "solver_order": 3},
        {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"},
        {"use_exponential_sigmas": True, "final_sigmas_type": "sigma_min"},
        {"solver_type": "midpoint"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
@pytest.mark.parametrize("steps", [6, 20])
def test_the_options_of_unipc_give_the_trajectory(options, steps):
    config = {**STABLE_DIFFUSION_1, "_class_name": "UniPCMultistepScheduler", **options}
    assert_same_trajectory(config, steps)


@pytest.mark.parametrize("steps", [1, 4, 20])
@pytest.mark.parametrize(
    ("name", "options", "planning"),
    [
        ("dpmsolver++", {}, {}),
        ("dpmsolver++-sde", {}, {}),
        ("dpmsolver++", {"use_dynamic_shifting": True}, {"mu": 0.9}),
        ("dpmsolver++", {"prediction_type": "epsilon"}, {}),
        ("unipc", {}, {}),
        ("unipc", {"use_dynamic_shifting": True}, {"mu": 0.9}),
        ("unipc", {"use_dynamic_shifting": True, "time_shift_type": "linear"}, {"mu": 0.9}),
        ("unipc", {"shift_terminal": 0.1}, {}),
        ("unipc", {"final_sigmas_type": "sigma_min"}, {}),
        ("unipc", {"use_karras_sigmas": True, "sigma_max": 200.0, "sigma_min": 0.01}, {}),
    ],
)
def test_a_solver_of_a_flow_gives_the_trajectory(name, options, planning, steps):
    if steps == 1 and "shift_terminal" in options:
        steps = 3  # one level cannot be stretched: diffusers divides 0 by 0
    assert_same_trajectory({**FLOW_SOLVER, **options}, steps, name, planning=planning)


def test_unipc_with_given_sigmas_gives_the_trajectory():
    planning = {"sigmas": np.linspace(1.0, 0.1, 8)}
    assert_same_trajectory(FLOW_SOLVER, 8, "unipc", planning=planning)


@pytest.mark.parametrize("steps", [1, 2, 4, 28])
@pytest.mark.parametrize(
    ("options", "planning"),
    [
        ({}, {"mu": 0.7}),
        ({"time_shift_type": "linear"}, {"mu": 1.9}),
        ({"shift_terminal": 0.02}, {"mu": 1.1}),
        ({"use_karras_sigmas": True}, {"mu": 0.7}),
        ({"use_exponential_sigmas": True}, {"mu": 0.7}),
        ({"use_karras_sigmas": True, "sigma_min": 0.01, "sigma_max": 0.95}, {"mu": 0.7}),
        ({"invert_sigmas": True}, {"mu": 0.7}),
        ({"stochastic_sampling": True}, {"mu": 0.7}),
        ({"use_dynamic_shifting": False, "shift": 2.5, "shift_terminal": 0.1}, {}),
    ],
)
def test_the_options_of_flow_matching_give_the_trajectory(options, planning, steps):
    if steps == 1 and "shift_terminal" in options:
        steps = 3  # one level cannot be stretched: diffusers divides 0 by 0
    assert_same_trajectory({**FLUX_DEV, **options}, steps, planning=planning)


@pytest.mark.parametrize("steps", [1, 4, 28])
def test_flow_matching_with_the_sigmas_of_flux_gives_the_trajectory(steps):
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    scheduler: Any = load_scheduler(FLUX_DEV)
    mu = scheduler.options.dynamic_mu(1024)
    assert mu == pytest.approx(calculate_shift(1024, 256, 4096, 0.5, 1.15), rel=1e-12)
    sigmas = np.linspace(1.0, 1 / steps, steps)
    assert_same_trajectory(FLUX_DEV, steps, planning={"mu": mu, "sigmas": sigmas})


@pytest.mark.parametrize("class_name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_a_repeated_first_timestep_begins_at_the_first_noise_level(class_name):
    """Begin at its second place, as diffusers does, and the last step has no level to end at."""
    config = {
        "_class_name": class_name,
        "beta_schedule": "squaredcos_cap_v2",
        "use_karras_sigmas": True,
    }
    sample = np.ones(SHAPE, np.float32)
    theirs, ours = reference(config, class_name), load_scheduler(config)
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    assert ours.timesteps[0] == ours.timesteps[1]
    for timestep in ours.timesteps:
        sample = ours.step(denoiser(sample, timestep, 4), timestep, sample, np.zeros)

    def run_diffusers() -> None:
        yours = torch.ones(SHAPE)
        for timestep in theirs.timesteps:
            output = torch.from_numpy(denoiser(yours.numpy(), float(timestep), 4))
            yours = theirs.step(output, timestep, yours).prev_sample

    with pytest.raises((IndexError, AssertionError)):
        run_diffusers()


@pytest.mark.parametrize("original_steps", [50, 100])
def test_lcm_with_other_options_gives_the_trajectory(original_steps):
    config = {
        **LCM_DREAMSHAPER,
        "original_inference_steps": original_steps,
        "timestep_scaling": 3.0,
        "rescale_betas_zero_snr": True,
        "prediction_type": "v_prediction",
    }
    assert_same_trajectory(config, 6)
    assert_same_trajectory(config, 5, planning={"strength": 0.6, "original_inference_steps": 40})


NOISING = [name for name in SHORT_NAMES if name != "ipndm"]


def test_ipndm_adds_no_noise_here_and_in_diffusers():
    ours = load_scheduler(STABLE_DIFFUSION_1, "ipndm")
    assert not hasattr(reference(STABLE_DIFFUSION_1, "IPNDMScheduler"), "add_noise")
    assert not ours.adds_noise
    assert all(load_scheduler(STABLE_DIFFUSION_1, name).adds_noise for name in NOISING)
    ours.set_timesteps(4)
    with pytest.raises(ValueError, match="adds no noise to pictures"):
        ours.add_noise(np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32), ours.timesteps[1])


@pytest.mark.parametrize("name", NOISING)
def test_add_noise_and_a_later_begin_agree_with_diffusers(name):
    """Image-to-image: noise the original at a middle timestep, and step on from there."""
    config = STABLE_DIFFUSION_3 if name == "flow-match-euler" else STABLE_DIFFUSION_1
    class_name, implied = SHORT_NAMES[name]
    theirs, ours = reference({**config, **implied}, class_name), load_scheduler(config, name)
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    start = 4
    if hasattr(theirs, "set_begin_index"):
        theirs.set_begin_index(start)
    ours.set_begin_index(start)
    generator = np.random.RandomState(5)
    original = generator.standard_normal(SHAPE).astype(np.float32)
    noise = generator.standard_normal(SHAPE).astype(np.float32)
    if hasattr(theirs, "noise_sampler_seed"):
        theirs.noise_sampler_seed = NOISE_SEED
    ours.seed_noise(NOISE_SEED)
    pair = torch.from_numpy(original), torch.from_numpy(noise)
    add_noise = getattr(theirs, "add_noise", None) or (
        lambda sample, noise, timestep: theirs.scale_noise(sample, timestep, noise)
    )
    yours = add_noise(*pair, theirs.timesteps[start : start + 1])
    mine = ours.add_noise(original, noise, ours.timesteps[start])
    np.testing.assert_allclose(mine, yours.numpy(), rtol=1e-6, atol=1e-6)

    my_generator, your_generator = torch.Generator(), torch.Generator()
    draws = "generator" in theirs.step.__code__.co_varnames
    for my_timestep, your_timestep in zip(
        ours.timesteps[start:], theirs.timesteps[start:], strict=True
    ):
        my_input = ours.scale_model_input(mine, my_timestep)
        your_input = yours
        if hasattr(theirs, "scale_model_input"):
            your_input = theirs.scale_model_input(yours, your_timestep)
        mine = ours.step(
            denoiser(my_input, my_timestep, 4),
            my_timestep,
            mine,
            lambda shape: torch.randn(shape, generator=my_generator).numpy(),
        )
        yours = theirs.step(
            torch.from_numpy(denoiser(your_input.numpy(), float(your_timestep), 4)),
            your_timestep,
            yours,
            **({"generator": your_generator} if draws else {}),
        ).prev_sample
        scale = max(1.0, float(yours.abs().max()))
        assert np.abs(mine - yours.numpy()).max() <= TOLERANCE * scale
        # Inpainting noises the original for the step that comes next.
        np.testing.assert_allclose(
            ours.add_noise(original, noise, my_timestep),
            add_noise(*pair, your_timestep.reshape(1)).numpy(),
            rtol=1e-6,
            atol=1e-6,
        )


@pytest.mark.parametrize("name", NOISING)
def test_add_noise_without_a_begin_agrees_with_diffusers(name):
    config = STABLE_DIFFUSION_3 if name == "flow-match-euler" else STABLE_DIFFUSION_1
    class_name, implied = SHORT_NAMES[name]
    theirs, ours = reference({**config, **implied}, class_name), load_scheduler(config, name)
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    original, noise = np.full(SHAPE, 0.5, np.float32), np.full(SHAPE, -1.5, np.float32)
    add_noise = getattr(theirs, "add_noise", None) or (
        lambda sample, noise, timestep: theirs.scale_noise(sample, timestep, noise)
    )
    for place in (0, 3, 9):
        expected = add_noise(
            torch.from_numpy(original), torch.from_numpy(noise), theirs.timesteps[place : place + 1]
        )
        actual = ours.add_noise(original, noise, ours.timesteps[place])
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [*SHORT_NAMES])
def test_set_timesteps_starts_a_scheduler_over(name):
    config = STABLE_DIFFUSION_3 if name == "flow-match-euler" else STABLE_DIFFUSION_1
    scheduler = load_scheduler(json.loads(json.dumps(config)), name)
    finals = []
    for _ in range(2):
        scheduler.set_timesteps(5)
        generator = np.random.RandomState(7)

        def noise(shape: tuple[int, ...], generator: Any = generator) -> np.ndarray:
            return generator.standard_normal(shape).astype(np.float32)

        sample = noise(SHAPE) * scheduler.init_noise_sigma
        for timestep in scheduler.timesteps:
            output = denoiser(scheduler.scale_model_input(sample, timestep), timestep, 4)
            sample = scheduler.step(output, timestep, sample, noise)
        finals.append(sample)
    np.testing.assert_array_equal(finals[0], finals[1])


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_the_calls_of_some_steps_are_known_without_planning(name):
    scheduler = load_scheduler({"_class_name": "DDIMScheduler"}, name)
    for steps in (4, 7, 20):
        scheduler.set_timesteps(steps)
        more = 9 if name == "pndm" else 0  # Runge and Kutta's calls
        assert len(scheduler.timesteps) == calls_of(name, steps) + more


def test_every_scheduler_is_held_against_diffusers():
    named = {class_name for class_name, _ in SHORT_NAMES.values()}
    assert set(SCHEDULERS) - named == {"DDIMParallelScheduler", "DDPMParallelScheduler"}


def test_of_every_scheduler_of_diffusers_it_is_known_whether_the_runner_has_it():
    import diffusers.schedulers
    from diffusers.schedulers import deprecated
    from edgegen_runner.schedulers import LACKED_BECAUSE

    named = {*dir(diffusers.schedulers), *dir(deprecated)}
    theirs = {name for name in named if name.endswith("Scheduler") and not name.startswith("Flax")}
    assert theirs == {*SCHEDULERS, *LACKED_BECAUSE}
    assert not set(SCHEDULERS) & set(LACKED_BECAUSE)


@pytest.mark.parametrize("seed", [0, 11, 2**40 + 1])
def test_the_noise_of_a_seed_is_torchsdes_brownian_motion(seed):
    for case in json.loads(RECORDED_PATHS.read_text())["paths"]:
        if case["seed"] != seed:
            continue
        path = BrownianPath(*case["whole"], tuple(case["shape"]), seed)
        for start, end, moved in case["increments"]:
            found = path.increment(start, end)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found.ravel(), moved, rtol=0, atol=5e-6)


def test_the_noise_of_adjoining_steps_adds_up():
    path = BrownianPath(0.03, 14.6, (4, 4), 3)
    parts = path.increment(0.03, 1.234567) + path.increment(1.234567, 9.1)
    np.testing.assert_allclose(parts, path.increment(0.03, 9.1), atol=1e-5)
    np.testing.assert_array_equal(path.increment(0.5, 0.5), np.zeros((4, 4), np.float32))
