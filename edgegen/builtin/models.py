"""What is known of the models that ship with edgegen, besides their files in `data/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinModel:
    """How a model is drawn with best, as its card says, and captions to draw with it.

    The captions are in the words that it was trained on; the scenes that they ask for need not be
    among those that it saw.
    """

    steps: int
    guidance: float
    prompt: str
    """What it is asked for where the user says nothing."""
    calibration_prompts: tuple[str, ...]
    """One for each trajectory that compression is calibrated on."""
    shares: str | None = None
    """The model whose components, and other files, it has where its folder has none of its own."""


_SCENES_PROMPT = "three tomatoes on a blue background"
_SCENES_CALIBRATION_PROMPTS = (
    "a hamburger",
    "three apples on a blue background",
    "a big cactus",
    "a cat above a guitar on a yellow background",
)
BUILTIN_MODELS: Mapping[str, BuiltinModel] = {
    "builtin:emoji": BuiltinModel(
        steps=25,
        guidance=3.0,
        prompt="panda",
        calibration_prompts=("fox face", "hamburger", "soccer ball", "cactus"),
    ),
    "builtin:scenes": BuiltinModel(
        steps=25,
        guidance=3.0,
        prompt=_SCENES_PROMPT,
        calibration_prompts=_SCENES_CALIBRATION_PROMPTS,
    ),
    "builtin:scenes-4step": BuiltinModel(
        steps=4,
        guidance=1.0,
        prompt=_SCENES_PROMPT,
        calibration_prompts=_SCENES_CALIBRATION_PROMPTS,
        shares="builtin:scenes",
    ),
    "builtin:scenes-4step-tiny": BuiltinModel(
        steps=4,
        guidance=1.0,
        prompt=_SCENES_PROMPT,
        calibration_prompts=_SCENES_CALIBRATION_PROMPTS,
        shares="builtin:scenes-4step",
    ),
}
"""By what a user types."""
