"""What is known of the models that ship with edgegen, besides their files in `builtin/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinModel:
    """How a model is drawn with best, as its card says, and captions that it was trained on."""

    steps: int
    guidance: float
    prompt: str
    """What it is asked for where the user says nothing."""
    calibration_prompts: tuple[str, ...]
    """One for each trajectory that compression is calibrated on."""
    shares: str | None = None
    """The model whose components, and other files, it has where its folder has none of its own."""


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
        prompt="three tomatoes on a blue background",
        calibration_prompts=(
            "a hamburger",
            "three apples on a blue background",
            "a big cactus",
            "a cat above a guitar on a yellow background",
        ),
    ),
}
"""By what a user types."""
