"""What ``load_scheduler`` makes of a config: options taken, ignored as in diffusers, or refused."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import edgegen_runner
import numpy as np
import pytest
import torch
from edgegen_runner.schedulers import SCHEDULERS, SHORT_NAMES, UnsupportedScheduler, load_scheduler
from edgegen_runner.schedulers.guidance import classifier_free_guidance, rescale_noise_cfg

from tests.schedulers.sides import diffusers_class

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*algorithm_types? dpmsolver.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning"),
]

SHAPE = (2, 4, 8, 8)
# Not arguments of these classes, but each reads them where its config has them.
READ_FROM_ANY_CONFIG = dict.fromkeys(
    (
        *("DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
        *("FlowMatchEulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler"),
        *("KDPM2AncestralDiscreteScheduler", "LMSDiscreteScheduler", "SASolverScheduler"),
        "DPMSolverSDEScheduler",
    ),
    frozenset({"sigma_min", "sigma_max"}),
)


def options_of(config: dict[str, Any], name: str | None = None) -> Any:
    scheduler: Any = load_scheduler(config, name)
    return scheduler.options


def options_class(class_name: str) -> Any:
    return type(options_of({"_class_name": class_name}))


def plain(value: object) -> object:
    return tuple(value) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("class_name", SCHEDULERS)
def test_every_option_of_diffusers_is_known_with_its_default(class_name):
    """An option that diffusers adds, drops or gives another default makes this fail."""
    theirs = {
        name: plain(parameter.default)
        for name, parameter in inspect.signature(
            diffusers_class(class_name).__init__
        ).parameters.items()
        if name != "self"
    }
    ours = {
        field.name: plain(field.default) if field.default is not MISSING else MISSING
        for field in fields(options_class(class_name))
    }
    extra = READ_FROM_ANY_CONFIG.get(class_name, frozenset())
    assert {name: ours[name] for name in ours if name not in extra} == theirs
    assert extra <= set(ours)


@pytest.mark.parametrize("class_name", SCHEDULERS)
def test_every_option_with_named_values_is_checked(class_name):
    """An option whose value is a name has its supported ones listed, so that none passes unread."""
    options = options_class(class_name)
    named = {field.name for field in fields(options) if isinstance(field.default, str)}
    assert named <= set(options.choices)
    assert options.scheduler == class_name


@pytest.mark.parametrize("class_name", SCHEDULERS)
def test_a_value_that_is_not_supported_is_refused_with_the_nearest(class_name):
    for option, supported in options_class(class_name).choices.items():
        example = next(value for value in supported if value is not None) if any(supported) else "x"
        config = {"_class_name": class_name, option: f"{example}~"}
        with pytest.raises(UnsupportedScheduler) as caught:
            load_scheduler(config)
        assert f"{class_name} does not support {option}='{example}~'" in str(caught.value)
        if isinstance(example, str) and len(example) > 2:
            assert f"Did you mean '{example}'?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("euler", {"use_karras_sigmas": True, "use_beta_sigmas": True}, "use_beta_sigmas"),
        ("heun", {"use_exponential_sigmas": True, "use_beta_sigmas": True}, "use_beta_sigmas"),
        ("unipc", {"use_flow_sigmas": True, "use_beta_sigmas": True}, "use_flow_sigmas"),
        ("deis", {"use_flow_sigmas": True, "use_karras_sigmas": True}, "use_flow_sigmas"),
        ("kdpm2", {"prediction_type": "sample"}, "prediction_type"),
        ("sasolver", {"tau_func": "a function"}, "tau_func"),
        ("edm-euler", {"sigma_min": 90.0}, "sigma_min"),
        ("consistency", {"rho": 0.0}, "rho"),
        ("ddim", {"beta_schedule": "sigmoid"}, "beta_schedule"),
        ("euler", {"use_karras_sigmas": True, "use_exponential_sigmas": True}, "exponential"),
        ("unipc", {"solver_p": {"_class_name": "DDIMScheduler"}}, "solver_p"),
        ("unipc", {"shift_terminal": 0.1}, "shift_terminal"),
        ("unipc", {"predict_x0": False}, "predict_x0"),
        ("unipc", {"lower_order_final": False}, "lower_order_final"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver"}, "algorithm_type"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "deis"}, "algorithm_type='deis'"),
        (
            "DPMSolverMultistepScheduler",
            {
                "algorithm_type": "dpmsolver",
                "final_sigmas_type": "sigma_min",
                "prediction_type": "flow_prediction",
            },
            "prediction_type",
        ),
    ],
)
def test_an_option_that_the_runner_lacks_is_refused_by_name(name, options, named):
    with pytest.raises(UnsupportedScheduler, match=named):
        load_scheduler({"_class_name": "DDIMScheduler", **options}, name)


@pytest.mark.parametrize(
    ("class_name", "options"),
    [
        ("DDPMScheduler", {"variance_type": "fixed_large_log"}),
        ("UniPCMultistepScheduler", {"predict_x0": False}),
        ("UniPCMultistepScheduler", {"lower_order_final": False}),
        ("UniPCMultistepScheduler", {"solver_type": "bh1"}),
        (
            "UniPCMultistepScheduler",
            {"use_flow_sigmas": True, "use_exponential_sigmas": True},
        ),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "use_exponential_sigmas": True}),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "use_lu_lambdas": True}),
    ],
)
def test_what_is_refused_as_not_a_number_is_not_a_number_in_diffusers(class_name, options):
    with pytest.raises(UnsupportedScheduler):
        load_scheduler({"_class_name": class_name, **options})
    theirs = diffusers_class(class_name)(**options)
    theirs.set_timesteps(5)
    sample = torch.ones(SHAPE)
    for timestep in theirs.timesteps:
        sample = theirs.step(torch.sin(sample), timestep, sample).prev_sample
    assert not torch.isfinite(sample).all()


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("EulerDiscretScheduler", "EulerDiscreteScheduler"),
        ("eulr", "euler"),
        ("dpmsolver++karras", "dpmsolver++-karras"),
        ("UniPCMultistep", "UniPCMultistepScheduler"),
    ],
)
def test_an_unknown_scheduler_is_refused_with_the_nearest(wanted, nearest):
    with pytest.raises(UnsupportedScheduler, match="Did you mean") as by_name:
        load_scheduler({"_class_name": "DDIMScheduler"}, wanted)
    with pytest.raises(UnsupportedScheduler) as by_class:
        load_scheduler({"_class_name": wanted})
    for caught in (by_name, by_class):
        assert f"{wanted!r}. Did you mean {nearest!r}?" in str(caught.value)


def test_a_config_without_a_class_is_refused_unless_a_name_is_given():
    with pytest.raises(UnsupportedScheduler, match="_class_name"):
        load_scheduler({"beta_start": 0.1})
    assert load_scheduler({"beta_start": 0.1}, "ddim").name == "DDIMScheduler"


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_a_short_name_makes_its_class_and_implies_its_options(name):
    scheduler: Any = load_scheduler({"_class_name": "PNDMScheduler"}, name)
    class_name, implied = SHORT_NAMES[name]
    assert scheduler.name == class_name == type(scheduler).__name__
    for option, value in implied.items():
        assert getattr(scheduler.options, option) == value


def test_another_scheduler_takes_shared_keys_its_own_defaults_and_nothing_else():
    config = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "steps_offset": 1,
        "skip_prk_steps": True,
        "clip_sample": False,
        "from_the_future": 3,
    }
    options = options_of(config, "dpmsolver++")
    assert (options.beta_start, options.steps_offset) == (0.00085, 1)
    assert options.timestep_spacing == "linspace"  # PNDM's own default is leading
    assert not hasattr(options, "skip_prk_steps")


def test_a_key_that_diffusers_marked_as_default_is_not_carried_over():
    config = {
        "_class_name": "PNDMScheduler",
        "timestep_spacing": "leading",
        "_use_default_values": ["timestep_spacing"],
    }
    options = options_of(config, "euler")
    assert (
        options.timestep_spacing
        == diffusers_class("EulerDiscreteScheduler").from_config(config).config["timestep_spacing"]
        == "linspace"
    )


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_a_request_that_no_schedule_can_meet_is_an_error(name):
    scheduler = load_scheduler({"_class_name": "DDIMScheduler"}, name)
    with pytest.raises(ValueError, match="at least 1"):
        scheduler.set_timesteps(0)
    sample = np.zeros(SHAPE, np.float32)
    if name not in ("ddim", "pndm"):  # these take any training timestep
        with pytest.raises(ValueError, match="not a timestep of this schedule"):
            scheduler.step(sample, 7, sample, np.zeros)
    if name != "flow-match-euler":
        with pytest.raises(ValueError, match="neither mu nor sigmas"):
            scheduler.set_timesteps(5, mu=1.0)
        with pytest.raises(ValueError, match="neither mu nor sigmas"):
            scheduler.set_timesteps(5, sigmas=[1.0, 0.8, 0.6, 0.4, 0.2])


@pytest.mark.parametrize("name", ["ddim", "ddpm", "pndm", "lcm", "tcd", "consistency"])
def test_more_steps_than_training_timesteps_are_an_error(name):
    with pytest.raises(ValueError, match="at most"):
        load_scheduler({"_class_name": "DDIMScheduler"}, name).set_timesteps(1001)


def test_steps_that_rounding_leaves_no_noise_level_for_are_an_error():
    config = {"beta_schedule": "squaredcos_cap_v2"}
    theirs = diffusers_class("EulerAncestralDiscreteScheduler").from_config(config)
    theirs.set_timesteps(4)
    sample = torch.ones(SHAPE) * theirs.init_noise_sigma
    for timestep in theirs.timesteps:
        scaled = theirs.scale_model_input(sample, timestep)
        sample = theirs.step(torch.sin(scaled), timestep, sample).prev_sample
    assert not torch.isfinite(sample).all()
    with pytest.raises(ValueError, match="not a number"):
        load_scheduler(config, "euler-ancestral").set_timesteps(4)


@pytest.mark.parametrize("name", ["flow-match-euler", "unipc"])
def test_dynamic_shifting_without_mu_is_an_error(name):
    config = {"use_dynamic_shifting": True, "use_flow_sigmas": True}
    with pytest.raises(ValueError, match="needs mu"):
        load_scheduler(config, name).set_timesteps(4)
    with pytest.raises(ValueError, match="2 sigmas do not make 4 steps"):
        load_scheduler(config, name).set_timesteps(4, mu=1.0, sigmas=[1.0, 0.5])


def test_a_learned_variance_needs_its_channels():
    scheduler = load_scheduler({"_class_name": "DDPMScheduler", "variance_type": "learned"})
    scheduler.set_timesteps(2)
    sample = np.zeros(SHAPE, np.float32)
    with pytest.raises(ValueError, match="twice the channels"):
        scheduler.step(sample, scheduler.timesteps[0], sample, np.zeros)


def test_guidance_agrees_with_diffusers():
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        rescale_noise_cfg as theirs,
    )

    generator = np.random.RandomState(0)
    uncond, cond = (generator.standard_normal(SHAPE).astype(np.float32) for _ in range(2))
    guided = classifier_free_guidance(uncond, cond, 7.5)
    assert guided.dtype == np.float32
    np.testing.assert_allclose(guided, uncond + 7.5 * (cond - uncond), rtol=1e-6, atol=1e-6)
    for rescale in (0.0, 0.7, 1.0):
        actual = rescale_noise_cfg(guided, cond, rescale)
        expected = theirs(torch.from_numpy(guided), torch.from_numpy(cond), rescale).numpy()
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_the_schedulers_import_nothing_but_numpy():
    program = (
        "import sys, importlib\n"
        "from edgegen_runner.schedulers import SCHEDULERS, load_scheduler\n"
        "for name in SCHEDULERS: load_scheduler({'_class_name': name})\n"
        "print(sorted({'torch', 'diffusers', 'scipy', 'edgegen'} & set(sys.modules)))\n"
    )
    root = Path(edgegen_runner.__file__).parents[1]
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.strip() == "[]"
