"""Guidance in a part of the steps, as a package's default: what is refused, and what is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.model import FamilyFacts, Generation
from edgegen.packaging.drawing import guided_in_part

FACTS = FamilyFacts(
    guidance="classifier-free", takes_text=True, takes_negative_prompt=True, starts=("noise",)
)
GENERATION = Generation(width=64, height=64, latent_channels=4, steps=25, guidance=7.5)


def test_a_part_is_kept() -> None:
    made = guided_in_part(FACTS, GENERATION, None, 0.4)
    assert (made.guidance_start, made.guidance_stop) == (0.0, 0.4)
    made = guided_in_part(FACTS, GENERATION, 0.2, None)
    assert (made.guidance_start, made.guidance_stop) == (0.2, 1.0)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0.5, 0.5), (0.6, 0.4), (1.0, None), (None, 0.0), (float("nan"), None), (None, float("nan"))],
)
def test_what_is_no_part_is_refused(start: float | None, stop: float | None) -> None:
    with pytest.raises(ConfigError, match="parts of the steps"):
        guided_in_part(FACTS, GENERATION, start, stop)


@pytest.mark.parametrize("steps", [1, 4, 9])
def test_few_steps_are_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"part of {steps} steps gains next to nothing"):
        guided_in_part(FACTS, replace(GENERATION, steps=steps), None, 0.5)
    assert guided_in_part(FACTS, replace(GENERATION, steps=10), None, 0.5).guidance_stop == 0.5


@pytest.mark.parametrize(
    ("facts", "guidance"),
    [
        (FACTS, 1.0),
        (replace(FACTS, guidance="embedded"), 7.5),
        (replace(FACTS, guidance="none"), 7.5),
    ],
)
def test_a_model_without_guidance_is_refused(facts: FamilyFacts, guidance: float) -> None:
    with pytest.raises(ConfigError, match="without classifier-free guidance"):
        guided_in_part(facts, replace(GENERATION, guidance=guidance), None, 0.5)


def test_all_steps_are_no_part() -> None:
    few = replace(GENERATION, steps=2, guidance=1.0)
    assert guided_in_part(FACTS, few, 0.0, 1.0) == few
