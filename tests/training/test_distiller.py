"""The arithmetic of distillation is that of the schedulers that the models are drawn with."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler

from training.distiller import Way
from training.settings import CONSISTENCY_STEPS, SCHEDULER_CONFIG

LATENTS = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
PREDICTED = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("timestep", [49, 249, 999])
def test_a_consistent_picture_is_the_one_that_diffusers_scheduler_names(timestep):
    scheduler = LCMScheduler(**SCHEDULER_CONFIG)
    scheduler.set_timesteps(CONSISTENCY_STEPS, original_inference_steps=CONSISTENCY_STEPS)
    scheduler._step_index = scheduler.timesteps.tolist().index(timestep)
    expected = scheduler.step(PREDICTED, timestep, LATENTS).denoised
    named = Way().consistent(LATENTS, PREDICTED, torch.tensor([timestep, timestep]))
    assert torch.allclose(named, expected, atol=1e-5)


def test_the_four_timesteps_of_the_scheduler_are_among_those_that_are_learned():
    scheduler = LCMScheduler(**SCHEDULER_CONFIG, original_inference_steps=CONSISTENCY_STEPS)
    scheduler.set_timesteps(4)
    way = Way()
    learned = {(index + 1) * way.stride - 1 for index in range(CONSISTENCY_STEPS)}
    assert set(scheduler.timesteps.tolist()) <= learned


@pytest.mark.parametrize(("later", "earlier"), [(999, 949), (99, 49)])
def test_the_teachers_step_is_ddims(later, earlier):
    scheduler = DDIMScheduler(**SCHEDULER_CONFIG)
    scheduler.set_timesteps(CONSISTENCY_STEPS)
    expected = scheduler.step(PREDICTED, later, LATENTS).prev_sample
    both = (torch.tensor([later] * 2), torch.tensor([earlier] * 2))
    assert torch.allclose(Way().before(LATENTS, PREDICTED, *both), expected, atol=1e-5)


def test_before_the_first_timestep_all_is_picture():
    way = Way()
    first, none = torch.tensor([49, 49]), torch.tensor([-1, -1])
    picture, noise = way.shares(first)
    clean = (LATENTS - noise * PREDICTED) / picture
    assert torch.equal(way.before(LATENTS, PREDICTED, first, none), clean)
