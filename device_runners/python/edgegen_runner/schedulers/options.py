"""The options of a ``scheduler_config.json``, checked once.

Every scheduler declares a frozen dataclass with the fields and defaults of its diffusers class. A
value that is not in its ``choices`` is refused by name. A key that the class does not know is
ignored, as ``from_config`` of diffusers does, so that one scheduler's config can start another.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Optional, TypeVar

from .base import UnsupportedScheduler

O = TypeVar("O", bound="CheckedOptions")  # noqa: E741 - one letter, as type variables are

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
        for option, allowed in self.choices.items():
            value = getattr(self, option)
            if value not in allowed:
                raise UnsupportedScheduler(unsupported(self.scheduler, option, value, allowed))

    def refuse(self, option: str, reason: str) -> UnsupportedScheduler:
        """Return the error for an option whose value does not go with the others."""
        return UnsupportedScheduler(
            f"{self.scheduler} does not support {option}={getattr(self, option)!r}: {reason}"
        )


@dataclass(frozen=True)
class NoiseOptions(CheckedOptions):
    """Options of every scheduler of a diffusion (not a flow-matching) model."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: Optional[Sequence[float]] = None
    prediction_type: str = "epsilon"
    timestep_spacing: str = "linspace"
    steps_offset: int = 0


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

    sigma_choices: ClassVar[Mapping[str, Sequence[object]]] = {
        # The inverse of the incomplete beta function would need scipy.
        "use_beta_sigmas": (False, None),
    }


def check_one_sigma_rule(options: SigmaOptions) -> None:
    """Refuse Karras and exponential sigmas together, as diffusers does."""
    if options.use_karras_sigmas and options.use_exponential_sigmas:
        raise options.refuse("use_exponential_sigmas", "use_karras_sigmas is set too.")


def unsupported(scheduler: str, option: str, value: object, allowed: Sequence[object]) -> str:
    """Return the sentence that refuses an option's value and names the nearest supported one."""
    known = [str(choice) for choice in allowed]
    near = difflib.get_close_matches(str(value), known, n=1)
    supported = ", ".join(known)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{scheduler} does not support {option}={value!r}. {hint}Supported: {supported}."


def read_options(options_class: type[O], config: Mapping[str, Any]) -> O:
    """Return a scheduler's options from a ``scheduler_config.json``.

    Args:
        options_class: The scheduler's dataclass of options.
        config: The file's keys; those of other classes are ignored, as are those that diffusers
            marked as having had their default value.

    Raises:
        UnsupportedScheduler: An option has a value that the runner does not support.
    """
    defaulted = config.get("_use_default_values", ())
    known = {field.name for field in fields(options_class)}
    given = {key: value for key, value in config.items() if key in known and key not in defaulted}
    return options_class(**given)
