"""What every scheduler is made of: the options of a ``scheduler_config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from .base import Array, Timestep
from .options import CheckedOptions, read_options

O = TypeVar("O", bound=CheckedOptions)  # noqa: E741 - one letter, as type variables are
S = TypeVar("S", bound="ConfiguredScheduler[Any]")


class ConfiguredScheduler(Generic[O]):
    """Hold the options; a class of it says which they are, and how it steps."""

    options_class: ClassVar[type[Any]]
    order = 1
    adds_noise = True

    def __init__(self, options: O) -> None:
        self.options = options

    @classmethod
    def from_config(cls: type[S], config: Mapping[str, Any]) -> S:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(cls.read(config))

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Any:
        """Return the options of a ``scheduler_config.json``; raises as `from_config` does."""
        return read_options(cls.options_class, config)

    @property
    def name(self) -> str:
        """Return the name of the diffusers class."""
        return self.options.scheduler

    def seed_noise(self, seed: int) -> None:
        """Do nothing: what is random comes from `step`'s ``noise``."""

    def can_start_at(self, timestep: Timestep) -> bool:
        """Return whether a prediction at this timestep gives the original."""
        return True

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample
