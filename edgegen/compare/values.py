"""The result of a comparison: how each figure changed, how sure that is, and what got worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.figures import FIGURES, FigureKind

SCHEMA_VERSION = 1

CONFIDENCE = 0.99
"""Of each interval. Up to five figures are tested at once, and few restarts make an interval too
narrow: at 0.99 each, a whole comparison finds nothing in at least 95 of 100 simulated cases where
there is nothing (`tests/compare`; `benchmarks/compare_same.py` counts it on a real machine)."""

Verdict = Literal["no difference", "worse", "better", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureChange:
    """How a figure of `core.figures.FIGURES` changed from OLD to NEW.

    `change` is relative for what is at most (0.05: five hundredths more), a difference for what is
    at least (decibels, shares). `low` and `high` are its interval of `CONFIDENCE`, equal to it
    where the figure is exact. A value that is not known is None, and `why` says why.
    """

    figure: str
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
    """OLD and NEW, figure by figure. `how` says how the latencies were paired, if they were."""

    schema_version: int
    old: Side
    new: Side
    how: str
    changes: tuple[FigureChange, ...]
    worse_pictures: tuple[WorsePicture, ...] = ()
    pictures: int = 0
    notes: tuple[str, ...] = ()

    def change_of(self, figure: str) -> FigureChange | None:
        """Return the change of a figure; None where it was not compared."""
        return next((each for each in self.changes if each.figure == figure), None)
