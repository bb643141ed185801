"""What a UNet was trained to predict: no shape tells, and a wrong guess draws noise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

EPSILON, VELOCITY = "epsilon", "v_prediction"
TYPES = (EPSILON, VELOCITY)
_METADATA = {"epsilon": EPSILON, "eps": EPSILON, "v": VELOCITY, "v_prediction": VELOCITY}
_BASE_STEP = 875_000
"""`global_step` of Stable Diffusion 2's base, which predicts noise (diffusers' rule)."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is predicted, and how that is known."""

    type: str
    why: str


class Said(Protocol):
    """What says it, where something does."""

    @property
    def prediction(self) -> str | None:
        """Return what the user says."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """Return the file's metadata."""

    @property
    def global_step(self) -> int | None:
        """Return the step of training that the file names."""


def prediction_of(sizes: Mapping[str, int], said: Said, marked: bool) -> Prediction:
    """Return what a UNet predicts.

    The user's word is first, then the file's metadata (SAI's modelspec) and the mark `v_pred`.
    Where a kind has two sizes, as Stable Diffusion 2, it is v but for the base model's step, as in
    diffusers; else noise.
    """
    if said.prediction is not None:
        return Prediction(said.prediction, "by --prediction")
    named = _METADATA.get(said.metadata.get("modelspec.prediction_type", "").lower())
    if named is not None:
        return Prediction(named, "by its metadata")
    if marked:
        return Prediction(VELOCITY, "by the mark v_pred")
    if not _is_ambiguous(sizes.values()):
        return Prediction(EPSILON, "as all of its kind")
    if said.global_step == _BASE_STEP:
        return Prediction(EPSILON, f"by its global_step, {_BASE_STEP:,}")
    return Prediction(VELOCITY, "as diffusers takes it; --prediction epsilon says otherwise")


def _is_ambiguous(sizes: Collection[int]) -> bool:
    return len(set(sizes)) > 1
