"""How much worse a figure may get: what people type after `--fail-on`, and what breaks it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.compare.values import Comparison, FigureChange
from edgegen.core.errors import ConfigError, RegressionError, nearest
from edgegen.core.figures import FIGURES, FigureKind

FAIL_ON = ("latency", "memory", "energy", "size", "right", "psnr", "ssim")
"""The figures that a comparison has."""

EXAMPLE = "latency:5%,memory:2%,psnr:1dB,ssim:0.01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """A figure may get worse by `value`: a share of the old one, or decibels or shares as such."""

    figure: str
    value: float

    @property
    def text(self) -> str:
        """Return it as people write it: `5 %`, `1 dB`, `0.01`."""
        return change_text(self.value, FIGURES[self.figure])


def parse_tolerances(text: str) -> tuple[Tolerance, ...]:
    """Read `latency:5%,psnr:1dB`.

    Raises ConfigError for a figure that there is not, a missing or wrong unit, and what is given
    twice.
    """
    found: dict[str, Tolerance] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        figure, colon, amount = (word.strip() for word in part.partition(":"))
        if figure not in FAIL_ON:
            raise ConfigError(
                f"--fail-on: there is no figure '{figure}' to compare.",
                hint=nearest(figure, FAIL_ON),
            )
        if figure in found:
            raise ConfigError(f"--fail-on: {figure} is given twice.", hint="Give it once.")
        if not colon:
            raise ConfigError(
                f"--fail-on: '{part}' doesn't say how much.", hint=f"Write it as {EXAMPLE}."
            )
        found[figure] = Tolerance(figure=figure, value=_amount(amount, FIGURES[figure]))
    if not found:
        raise ConfigError("--fail-on is empty.", hint=f"Write it as {EXAMPLE}.")
    return tuple(found.values())


def _amount(text: str, kind: FigureKind) -> float:
    unit = "dB" if kind.unit == "decibels" else "" if kind.unit == "share" else "%"
    match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)\s*(\S*)", text)
    if match is None or match[2].lower() != unit.lower() or not math.isfinite(float(match[1])):
        example = {"%": "5%", "dB": "1dB", "": "0.01"}[unit]
        raise ConfigError(
            f"--fail-on: '{text}' is no amount for {kind.name}.",
            hint=f"Write it as {kind.name}:{example}.",
        )
    return float(match[1]) / 100 if unit == "%" else float(match[1])


def failures(comparison: Comparison, tolerances: Sequence[Tolerance]) -> tuple[str, ...]:
    """Return a sentence for each tolerance that is broken, or whose figure is unknown."""
    found = []
    for tolerance in tolerances:
        change = comparison.change_of(tolerance.figure)
        if change is None or change.verdict == "unknown":
            why = "it was not compared" if change is None else change.why
            found.append(f"{tolerance.figure} is unknown, which is no pass: {why}.")
        elif _is_broken(change, tolerance):
            by = change_text(change.worse_by or 0.0, change.kind)
            found.append(f"{tolerance.figure} is worse by {by}; {tolerance.text} is allowed.")
    return tuple(found)


def doubts(comparison: Comparison, tolerances: Sequence[Tolerance]) -> tuple[str, ...]:
    """Return a sentence for each tolerance that holds, though the interval reaches beyond it."""
    found = []
    for tolerance in tolerances:
        change = comparison.change_of(tolerance.figure)
        if change is None or change.worst_case is None or _is_broken(change, tolerance):
            continue
        if change.worst_case > tolerance.value:
            worst = change_text(change.worst_case, change.kind)
            found.append(
                f"{tolerance.figure} may still be worse by up to {worst}, beyond "
                f"{tolerance.text}: more restarts or pictures would tell."
            )
    return tuple(found)


def check(comparison: Comparison, tolerances: Sequence[Tolerance]) -> None:
    """Raise RegressionError where a tolerance is broken, or its figure is unknown."""
    broken = failures(comparison, tolerances)
    if broken:
        raise RegressionError(" ".join(broken), hint=hint_for(comparison, tolerances))


def hint_for(comparison: Comparison, tolerances: Sequence[Tolerance]) -> str:
    """Return what to do after a failure."""
    figures = [comparison.change_of(tolerance.figure) for tolerance in tolerances]
    if any(change is None or change.verdict == "unknown" for change in figures):
        return "Measure what is unknown, or leave it out of --fail-on."
    return "The table shows by how much each figure changed, and how sure that is."


def change_text(value: float, kind: FigureKind) -> str:
    """Write a change of a figure: `+5.0 %`, `-1.2 dB`, `+0.010`; without a sign for a tolerance."""
    if not kind.of_quality:
        return f"{100 * value:.3g} %"
    return f"{value:.3g} dB" if kind.unit == "decibels" else f"{value:.3g}"


def _is_broken(change: FigureChange, tolerance: Tolerance) -> bool:
    """Return whether a figure got worse beyond doubt, and by more than is tolerated."""
    return change.verdict == "worse" and (change.worse_by or 0.0) > tolerance.value
