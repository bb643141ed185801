"""How a long job says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

Unit = Literal["bytes", "steps", "images", "items", "seconds"]


class Step(Protocol):
    """A part of a job that is under way. `total` may be set once it is known."""

    total: float | None

    def advance(self, amount: float = 1) -> None:
        """Say that `amount` more units are done."""
        ...

    def describe(self, text: str) -> None:
        """Say what is being done right now (`down_blocks.0`); an empty text says nothing."""
        ...


class Progress(Protocol):
    """Shows the steps of a job, one after the other or within each other.

    >>> with progress.step("unet", total=1_720_000_000, unit="bytes") as step:
    ...     step.advance(4096)
    """

    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> AbstractContextManager[Step]:
        """Open a step: it ends, done or failed, with the `with` block."""
        ...


class SilentStep:
    """A step that nobody watches."""

    def __init__(self, total: float | None = None) -> None:
        self.total = total

    def advance(self, amount: float = 1) -> None:
        """Do nothing."""

    def describe(self, text: str) -> None:
        """Do nothing."""


class SilentProgress:
    """Progress that nobody watches: the default wherever a `Progress` is taken."""

    @contextmanager
    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> Iterator[SilentStep]:
        """Open a step that shows nothing."""
        yield SilentStep(total)
