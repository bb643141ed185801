"""How much worse a figure may get: what people type after `--fail-on`, and what breaks it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.compare.values import Comparison, FigureChange
from edgegen.core.errors import ConfigError, nearest
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
    """Return a sentence for each tolerance that is broken in a suite, or whose figure is unknown.

    Where quality is judged, a picture that shows nothing in NEW only is a failure by itself.
    """
    found = []
    for tolerance in tolerances:
        changes = comparison.changes_of(tolerance.figure)
        if not changes:
            found.append(f"{tolerance.figure} is unknown, which is no pass: it was not compared.")
        for change in changes:
            if change.verdict == "unknown":
                found.append(f"{_name(change)} is unknown, which is no pass: {change.why}.")
            elif _is_broken(change, tolerance):
                by = change_text(change.worse_by or 0.0, change.kind)
                found.append(f"{_name(change)} is worse by {by}; {tolerance.text} is allowed.")
    if comparison.new_faults and any(FIGURES[each.figure].of_quality for each in tolerances):
        found.append(_faults_text(comparison))
    return tuple(found)


def doubts(comparison: Comparison, tolerances: Sequence[Tolerance]) -> tuple[str, ...]:
    """Return a sentence for each tolerance that holds, though the interval reaches beyond it."""
    return tuple(
        f"{_name(change)} may still be worse by up to {change_text(worst, change.kind)}, beyond "
        f"{tolerance.text}: more restarts or pictures would tell."
        for tolerance in tolerances
        for change in comparison.changes_of(tolerance.figure)
        if not _is_broken(change, tolerance)
        and (worst := change.worst_case) is not None
        and worst > tolerance.value
    )


def hint_for(comparison: Comparison, tolerances: Sequence[Tolerance]) -> str:
    """Return what to do after a failure."""
    for tolerance in tolerances:
        changes = comparison.changes_of(tolerance.figure)
        if not changes or any(change.verdict == "unknown" for change in changes):
            return "Measure what is unknown, or leave it out of --fail-on."
    return "The table shows by how much each figure changed, and how sure that is."


def change_text(value: float, kind: FigureKind) -> str:
    """Write an amount of change, without a sign: `5 %`, `1.2 dB`, `0.01`."""
    if not kind.of_quality:
        return f"{100 * value:.3g} %"
    return f"{value:.3g} dB" if kind.unit == "decibels" else f"{value:.3g}"


def _name(change: FigureChange) -> str:
    return change.figure if change.suite is None else f"{change.figure} ({change.suite})"


def _faults_text(comparison: Comparison) -> str:
    """Return how many pictures are lost in NEW only, and which is the first."""
    first = next(each for each in comparison.worse_pictures if each.fault is not None)
    prompt = "without a prompt" if first.prompt is None else f"'{first.prompt}'"
    return (
        f"{comparison.new_faults} of {comparison.pictures} pictures of NEW are lost, and OLD's "
        f"are not: {prompt} ({first.suite}, seed {first.seed}) is {first.fault}."
    )


def _is_broken(change: FigureChange, tolerance: Tolerance) -> bool:
    """Return whether a figure got worse beyond doubt, and by more than is tolerated."""
    return change.verdict == "worse" and (change.worse_by or 0.0) > tolerance.value
