"""The figures that a package is chosen by, and limits on them.

A new figure is one line of `FIGURES`: options of commands, the profile's budget, tables and pages
take it from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import EQUAL_DB

Unit = Literal["bytes", "seconds", "joules", "share", "ratio", "decibels", "none"]
Sense = Literal["at most", "at least"]
Origin = Literal["measured", "predicted", "measured elsewhere", "unknown"]
"""Where a value comes from: `measured elsewhere` is on another device of the same kind, or in an
earlier session of this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureKind:
    """A figure of a package: what it is called, its unit, and on which side its limits are.

    `option` is that of a command (`--max-latency`). `paired` figures compare a package with the
    model that it was made of, and say nothing between models. Values are in SI units: bytes,
    seconds, joules, shares of one, decibels.
    """

    name: str
    title: str
    unit: Unit
    sense: Sense
    option: str
    paired: bool = False

    @property
    def of_quality(self) -> bool:
        """Return whether it is one of the pictures, not of the device."""
        return self.sense == "at least"


FIGURES: Mapping[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind(name="size", title="size", unit="bytes", sense="at most", option="--max-size"),
        FigureKind(
            name="latency", title="latency", unit="seconds", sense="at most", option="--max-latency"
        ),
        FigureKind(
            name="memory", title="memory", unit="bytes", sense="at most", option="--max-memory"
        ),
        FigureKind(
            name="energy", title="energy", unit="joules", sense="at most", option="--max-energy"
        ),
        FigureKind(
            name="slowdown",
            title="slowdown",
            unit="ratio",
            sense="at most",
            option="--max-slowdown",
        ),
        FigureKind(
            name="right", title="right", unit="share", sense="at least", option="--min-right"
        ),
        FigureKind(
            name="psnr",
            title="PSNR",
            unit="decibels",
            sense="at least",
            option="--min-psnr",
            paired=True,
        ),
        FigureKind(
            name="ssim",
            title="SSIM",
            unit="share",
            sense="at least",
            option="--min-ssim",
            paired=True,
        ),
    )
}
"""By name. latency is the p90 of a steady image; memory the highest sum of PSS; energy that of a
steady image; slowdown the sustained latency over the first; right the share of pictures that show
what was asked for; psnr and ssim the mean over the pictures of what the model knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a figure must not be above, or below, by its kind. `origin` says who asked for it."""

    figure: str
    value: float
    origin: str = "asked for"

    @property
    def kind(self) -> FigureKind:
        """Return the kind of the figure."""
        return FIGURES[self.figure]

    def allows(self, value: float) -> bool:
        """Return whether a value is within the limit."""
        return value <= self.value if self.kind.sense == "at most" else value >= self.value

    def excess(self, value: float) -> float:
        """Return by how much of the limit a value breaks it: 0.2 is a fifth too much or little.

        0 within the limit. Decibels, whose zero is arbitrary, count by their difference over 10.
        """
        if self.allows(value):
            return 0.0
        gap = abs(value - self.value)
        return gap / 10.0 if self.kind.unit == "decibels" else gap / abs(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value with what is known of it.

    `low` and `high` bound it: the 95 % interval of a measurement, the range of a prediction; equal
    to the value where it is exact. All three are None where nothing is known. `source` says where
    it comes from, in words: the device and the day, the model of the prediction.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    origin: Origin = "unknown"
    source: str = ""

    def passes(self, limit: Limit) -> bool | None:
        """Return whether the worse bound is within a limit; None where nothing is known."""
        worse = self.high if limit.kind.sense == "at most" else self.low
        worse = self.value if worse is None else worse
        return None if worse is None else limit.allows(worse)

    def could_pass(self, limit: Limit) -> bool:
        """Return whether the better bound is within a limit, or nothing is known."""
        better = self.low if limit.kind.sense == "at most" else self.high
        better = self.value if better is None else better
        return better is None or limit.allows(better)


UNKNOWN = Figure()


def exact(value: float, origin: Origin = "measured", source: str = "") -> Figure:
    """Return a value that has no interval."""
    return Figure(value=value, low=value, high=value, origin=origin, source=source)


def predicted_around(low: float, value: float, high: float, error: float, source: str) -> Figure:
    """Return a prediction that is off by at most `error`, as a share of what will be measured.

    `low` and `high` are the bounds of what it is made of; both are `value` where that is sure.
    """
    return Figure(
        value=value,
        low=low / (1 + error),
        high=high / (1 - error),
        origin="predicted",
        source=source,
    )


def check_limits(limits: tuple[Limit, ...]) -> None:
    """Raise ConfigError for a limit of a figure that there is not, given twice, or impossible."""
    seen: set[str] = set()
    for limit in limits:
        option = limit.kind.option
        if limit.figure in seen:
            raise ConfigError(f"{option} is given twice.", hint="Give it once.")
        seen.add(limit.figure)
        if limit.value == 0 and limit.kind.sense == "at least":
            raise ConfigError(
                f"{option} is 0, and everything meets that.",
                hint=f"Give a number above 0, or leave {option} out.",
            )
        if not limit.value > 0 or limit.value == float("inf"):
            raise ConfigError(
                f"{option} is {limit.value:g}, and nothing can meet that.",
                hint="Give a number above 0, with its unit.",
            )
        if limit.kind.unit == "decibels" and limit.value > EQUAL_DB:
            raise ConfigError(
                f"{option} is {limit.value:g} dB, and equal pictures count as {EQUAL_DB:g} dB.",
                hint=f"Give {EQUAL_DB:g}dB or less: {option} 30dB.",
            )
        if limit.kind.unit == "share" and limit.value > 1:
            raise ConfigError(
                f"{option} is {limit.value:g}, and a share is at most 1.",
                hint=f"Give a share of one: {option} 0.9.",
            )
