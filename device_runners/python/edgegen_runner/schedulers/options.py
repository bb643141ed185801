"""The options of a ``scheduler_config.json``, checked once.

Every scheduler declares a frozen dataclass with the fields and defaults of its diffusers class. A
value that is not in its ``choices`` is refused by name. A key that the class does not know is
ignored, as ``from_config`` of diffusers does, so that one scheduler's config can start another.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Optional, TypeVar

from .base import UnsupportedScheduler

O = TypeVar("O", bound="CheckedOptions")  # noqa: E741 - one letter, as type variables are

_MOST_TRAIN_TIMESTEPS = 100_000

COMMON_BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
TIMESTEP_SPACINGS = ("leading", "trailing", "linspace")
FINAL_SIGMAS_TYPES = ("zero", "sigma_min")


@dataclass(frozen=True)
class CheckedOptions:
    """Check each option that has ``choices`` when a value of the class is made."""

    scheduler: ClassVar[str]
    """Name of the diffusers class."""
    choices: ClassVar[Mapping[str, Sequence[object]]]
    """The values that the runner supports, for each option that has some that it does not."""

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check_type(field.name, str(field.type))
        for option, allowed in self.choices.items():
            value = getattr(self, option)
            if value not in allowed:
                raise UnsupportedScheduler(unsupported(self.scheduler, option, value, allowed))

    def _check_type(self, option: str, annotation: str) -> None:
        """Refuse a value of another type than its annotation's; null is false, as in Python."""
        value = getattr(self, option)
        if value is None and (annotation == "bool" or annotation.startswith("Optional")):
            return
        kind = (
            annotation[len("Optional[") : -1] if annotation.startswith("Optional") else annotation
        )
        if kind.startswith("Sequence"):
            fits = isinstance(value, (list, tuple)) and all(_is_number(item) for item in value)
        elif kind == "float":
            fits = _is_number(value)
        else:  # an object is whatever the choices allow
            fits = kind in ("object", type(value).__name__)
        if not fits:
            raise self.refuse(option, f"it must be of the type {kind}.")

    def refuse(self, option: str, reason: str) -> UnsupportedScheduler:
        """Return the error for an option whose value does not go with the others."""
        shown = _shown(getattr(self, option))
        return UnsupportedScheduler(f"{self.scheduler} does not support {option}={shown}: {reason}")


@dataclass(frozen=True)
class BetaOptions(CheckedOptions):
    """How much noise each training timestep adds, and what the model predicts."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: Optional[Sequence[float]] = None
    prediction_type: str = "epsilon"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_train_timesteps(self, self.num_train_timesteps)
        total = self.num_train_timesteps
        if self.trained_betas is not None and len(self.trained_betas) != total:
            raise self.refuse("trained_betas", f"they must be {total}, one for each timestep.")
        if not (0 <= self.beta_start < 1 and 0 <= self.beta_end < 1):
            raise self.refuse("beta_start", "it and beta_end must be between 0 and 1.")


@dataclass(frozen=True)
class NoiseOptions(BetaOptions):
    """Options of almost every scheduler of a diffusion (not a flow-matching) model."""

    timestep_spacing: str = "linspace"
    steps_offset: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.steps_offset < self.num_train_timesteps:
            raise self.refuse("steps_offset", "timesteps would begin outside of the training's.")


@dataclass(frozen=True)
class ThresholdOptions:
    """Options of dynamic thresholding (Imagen, arXiv 2205.11487)."""

    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0


@dataclass(frozen=True)
class ClipOptions(ThresholdOptions):
    """Options that limit the predicted original sample: clip it, or threshold it."""

    clip_sample: bool = True
    clip_sample_range: float = 1.0


@dataclass(frozen=True)
class SigmaOptions(CheckedOptions):
    """Options that place the noise levels by another rule than the timesteps'.

    ``sigma_min`` and ``sigma_max`` are no arguments of every diffusers class, but each reads them
    where the config that it was made from has them.
    """

    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    sigma_min: Optional[float] = None
    sigma_max: Optional[float] = None


def check_train_timesteps(options: CheckedOptions, total: int) -> None:
    """Refuse fewer than two training timesteps, and more than any model has."""
    if not 1 < total <= _MOST_TRAIN_TIMESTEPS:
        raise options.refuse("num_train_timesteps", f"it must be 2 to {_MOST_TRAIN_TIMESTEPS}.")


def check_sigma_range(options: CheckedOptions, least: float, most: float) -> None:
    """Refuse noise levels that do not rise from above zero."""
    if not 0 < least < most < math.inf:
        raise options.refuse("sigma_min", f"it must be above 0 and below sigma_max, {most:g}.")


def check_one_sigma_rule(options: SigmaOptions) -> None:
    """Refuse two rules of sigmas together, as diffusers does."""
    rules = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
    chosen = [rule for rule in rules if getattr(options, rule)]
    if len(chosen) > 1:
        raise options.refuse(chosen[1], f"{chosen[0]} is set too.")


def check_flow_sigmas(options: SigmaOptions, flow: bool, *others: bool) -> None:
    """Refuse a flow's sigmas with another rule: diffusers takes sigmas above 1 for shares."""
    ruled = (options.use_karras_sigmas, options.use_exponential_sigmas, options.use_beta_sigmas)
    if flow and any((*ruled, *others)):
        raise options.refuse("use_flow_sigmas", "not with another rule of sigmas.")


def _shown(value: object) -> str:
    """Return how Python writes a value, cut where it is long: it may come from anywhere."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    text = repr(value) if isinstance(value, (str, int, float)) else type(value).__name__
    return text if len(text) <= 80 else f"{text[:77]}…"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def unsupported(scheduler: str, option: str, value: object, allowed: Sequence[object]) -> str:
    """Return the sentence that refuses an option's value and names the nearest supported one."""
    known = [str(choice) for choice in allowed]
    near = difflib.get_close_matches(_shown(value), known, n=1)
    supported = ", ".join(known)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{scheduler} does not support {option}={_shown(value)}. {hint}Supported: {supported}."


def explicit(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a configuration says itself, without what diffusers marked as a default."""
    marked = config.get("_use_default_values", ())
    listed = marked if isinstance(marked, (list, tuple)) else ()
    left_out = (*listed, "_use_default_values")
    return {key: value for key, value in config.items() if key not in left_out}


def read_options(options_class: type[O], config: Mapping[str, Any]) -> O:
    """Return a scheduler's options from a ``scheduler_config.json``.

    Args:
        options_class: The scheduler's dataclass of options.
        config: The file's keys; those of other classes are ignored.

    Raises:
        UnsupportedScheduler: An option has a value that the runner does not support.
    """
    known = {field.name for field in fields(options_class)}
    return options_class(**{key: value for key, value in config.items() if key in known})
