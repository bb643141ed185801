"""The result of a comparison: how each figure changed, how sure that is, and what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.figures import FIGURES, FigureKind
from edgegen.statistics.comparisons import Change

SCHEMA_VERSION = 1

CONFIDENCE = 0.99
"""Of each interval. Up to five figures are tested at once, and few restarts make an interval too
narrow: at 0.99 each, a whole comparison finds nothing in at least 95 of 100 simulated cases where
there is nothing (`tests/compare`; `benchmarks/compare_same.py` counts it on a real machine).
Several suites share what it leaves: with two, each of their intervals is of 0.995."""

SIZE_SPREAD = 0.001
"""Packages of the same files differ by less: the names and days in their manifests."""

Verdict = Literal["no difference", "worse", "better", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """How a figure of `core.figures.FIGURES` changed from OLD to NEW.

    `change` is relative for what is at most (0.05: five hundredths more), a difference for what is
    at least (decibels, shares). `low` and `high` are its interval of `CONFIDENCE`, equal to it
    where the figure is exact. A value that is not known is None, and `why` says why. `suite` is
    that of the pictures which a figure of quality is of.
    """

    figure: str
    suite: str | None = None
    old: float | None = None
    new: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def kind(self) -> FigureKind:
        """Return the kind of the figure."""
        return FIGURES[self.figure]

    @property
    def is_relative(self) -> bool:
        """Return whether the change is a ratio, not a difference."""
        return not self.kind.of_quality

    @property
    def worse_by(self) -> float | None:
        """Return the change in the bad direction: above 0 it got worse."""
        if self.change is None:
            return None
        return self.change if self.kind.sense == "at most" else -self.change

    @property
    def worst_case(self) -> float | None:
        """Return the bound of the interval in the bad direction."""
        if self.low is None or self.high is None:
            return None
        return self.high if self.kind.sense == "at most" else -self.low

    @property
    def verdict(self) -> Verdict:
        """Return what the interval shows."""
        if self.low is None or self.high is None or self.worse_by is None:
            return "unknown"
        if self.low <= 0.0 <= self.high:
            return "no difference"
        return "worse" if self.worse_by > 0 else "better"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorsePicture:
    """A prompt whose picture got worse.

    `lost` says that OLD's picture was right and NEW's is not; `wrong` names what is wrong with it,
    `fault` that it shows nothing. PSNRs are to the reference, None where that cannot be compared.
    """

    suite: str
    prompt: str | None
    seed: int
    old_psnr_db: float | None
    new_psnr_db: float | None
    lost: bool = False
    wrong: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared: `name` is what was typed."""

    name: str
    model: str
    target: str
    recipe: str
    manifest_sha256: str
    device: str | None = None
    started_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """OLD and NEW, figure by figure; figures of quality are there once for each suite.

    `how` says how the latencies were paired, if they were. `new_faults` counts the pictures that
    show nothing in NEW and are not so in OLD, all of them, though `worse_pictures` has an end.
    """

    schema_version: int
    old: Side
    new: Side
    how: str
    changes: tuple[FigureChange, ...]
    worse_pictures: tuple[WorsePicture, ...] = ()
    pictures: int = 0
    new_faults: int = 0
    notes: tuple[str, ...] = ()

    def change_of(self, figure: str) -> FigureChange | None:
        """Return the change of a figure, of the first suite; None where it was not compared."""
        return next(iter(self.changes_of(figure)), None)

    def changes_of(self, figure: str) -> tuple[FigureChange, ...]:
        """Return the changes of a figure, one for each suite; none where it was not compared."""
        return tuple(each for each in self.changes if each.figure == figure)


def change_of(
    figure: str,
    values: tuple[float, float],
    change: Change | None,
    without_interval: str,
    *,
    suite: str | None = None,
) -> FigureChange:
    """Return a figure's change; `without_interval` says what an interval would need."""
    if change is None:
        return unknown(figure, "a value is zero", suite=suite)
    has_interval = change.low is not None
    return FigureChange(
        figure=figure,
        suite=suite,
        old=float(values[0]),
        new=float(values[1]),
        change=change.value,
        low=change.low,
        high=change.high,
        why="" if has_interval else without_interval,
    )


def unknown(figure: str, why: str, *, suite: str | None = None) -> FigureChange:
    """Return a figure that could not be compared."""
    return FigureChange(figure=figure, suite=suite, why=why)


def size_change(old_bytes: int, new_bytes: int) -> FigureChange:
    """Return how the size on disk changed, as far as it isn't a matter of the manifest's words."""
    if old_bytes <= 0 or new_bytes <= 0:
        return unknown("size", f"{'OLD' if old_bytes <= 0 else 'NEW'} has a size of 0 bytes")
    value = new_bytes / old_bytes - 1
    spread = SIZE_SPREAD if abs(value) <= SIZE_SPREAD else 0.0
    change = Change(value=value, low=value - spread, high=value + spread)
    return change_of("size", (old_bytes, new_bytes), change, "")
