"""Decides on which trajectories a model is calibrated. Needs no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.reference.case import SEED, denoiser, plan_case

STEPS = (4, 6, 9, 13)
"""Steps of each trajectory: few, and so chosen that their timesteps lie between each other's."""

FEW_STEPS = (2, 3, 4, 5)
"""Those of a model with more than `MANY_PARAMETERS`: a step of its denoiser takes seconds."""
MANY_PARAMETERS = 200_000_000

NEGATIVE_PROMPTS = ("", "", "blurry, low quality", "")

PROMPTS = (
    "a photo of a cat on a sofa",
    "a mountain lake at sunrise, detailed landscape painting",
    "portrait of an old man with a hat, black and white photograph",
    "a busy street in a city at night, neon signs, rain",
)
"""For a model whose card names none; other ones than those it is compared and tried with."""

_CARD_NAME = "README.md"
_LONGEST_CARD_BYTES = 1 << 20
_LONGEST_PROMPT = 500


def plan_calibration(
    spec: PipelineSpec, folder: Path, *, full: bool, steps: tuple[int, ...] | None = None
) -> tuple[GoldenCase, ...]:
    """Choose the trajectories: of the golden case's size, with seeds and prompts of their own.

    `steps` are those of each trajectory, at most `len(STEPS)`; default: as many as the denoiser's
    size allows. Raises what `plan_case` raises.
    """
    case = plan_case(spec, folder, full=full)
    prompts = choose_prompts(spec, folder)
    return tuple(
        replace(
            case,
            seed=SEED + 1 + index,
            steps=count,
            prompt=None if case.prompt is None else prompts[index],
            negative_prompt=None if case.negative_prompt is None else NEGATIVE_PROMPTS[index],
        )
        for index, count in enumerate(steps or _steps_of(spec))
    )


def _steps_of(spec: PipelineSpec) -> tuple[int, ...]:
    return FEW_STEPS if denoiser(spec).parameters > MANY_PARAMETERS else STEPS


def choose_prompts(spec: PipelineSpec, folder: Path) -> tuple[str, ...]:
    """Return a prompt a trajectory: known captions, or the card's examples, or plain ones."""
    builtin = BUILTIN_MODELS.get(spec.known_as)
    known = builtin.calibration_prompts if builtin else card_prompts(folder / _CARD_NAME)
    return tuple(dict.fromkeys((*known, *PROMPTS)))[: len(STEPS)]


def card_prompts(card: Path) -> tuple[str, ...]:
    """Return the examples (`widget`) in the head of a model card on the hub, in their order.

    A card is for people, and is read as far as it goes: one without examples, or none, gives ().
    """
    if not card.is_file():
        return ()
    with card.open("rb") as file:
        lines = file.read(_LONGEST_CARD_BYTES).decode(errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return ()
    found: list[str] = []
    in_widget = False
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if line[:1].isalpha():  # a key of the outermost level
            in_widget = line.startswith("widget:")
            continue
        key, _, value = line.strip().removeprefix("-").strip().partition(":")
        prompt = value.strip().strip("\"'")
        if in_widget and key == "text" and 0 < len(prompt) <= _LONGEST_PROMPT:
            found.append(prompt)
    return tuple(found)
