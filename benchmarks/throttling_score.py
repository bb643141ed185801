"""Scores what `edgegen.statistics.changepoints` finds in series whose changes are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.machine import Machine
from benchmarks.throttling_oracle import (
    FAMILIES,
    TOLERANCE_S,
    family,
    null_signals,
    oracle_signals,
)
from benchmarks.throttling_series import Series
from edgegen.statistics.changepoints import MINIMUM_RATIO, Change, find_changes

GOAL_RATIO = 1.1
GOAL = 0.98
GOAL_COVERAGE = 0.93
SIGNALS = (0.0, 3.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, math.inf)
LEAST_SIGNAL = 8.0
"""From here on, changes are clear; see `TrueChange.signal`."""
LEAST_JUDGED = 100
"""Of fewer series, a share is too unsure to be held against a goal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What was found in one series; the errors and intervals are those of the found changes.

    `oracle_signals` are what an oracle sees of each true change, `oracle_nulls` what it sees where
    there is none (of `throttling_oracle.FAMILIES`); `oracle_found` says which it tells.
    """

    shape: str
    noise: str
    step_s: float
    noise_share: float | None
    ratio: float
    true: int
    found: int
    false: int
    signals: tuple[float, ...] = ()
    found_signals: tuple[float, ...] = ()
    onset_error_s: tuple[float, ...] = ()
    onset_covered: tuple[bool, ...] = ()
    ratio_covered: tuple[bool, ...] = ()
    oracle_signals: tuple[float, ...] = ()
    oracle_nulls: tuple[float, ...] = ()
    oracle_found: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The scores of alike series. Shares are None where there is nothing to divide by.

    `recall` is of the true changes. `alarms` is the share of series with a change that is none.
    `precision` is that of all that was found in these series. `oracle_recall` is that of
    `throttling_oracle.py`, which knows the noise and the shape, at the same rate of false alarms.
    """

    what: str
    series: int
    recall: float | None
    oracle_recall: float | None = None
    precision: float | None = None
    alarms: float | None = None
    onset_median_s: float | None = None
    onset_p90_s: float | None = None
    onset_coverage: float | None = None
    ratio_coverage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of cells; the goals are held against those that are `judged`."""

    title: str
    judged: bool = True
    cells: tuple[Cell, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a validation found."""

    machine: Machine
    seed: int
    tuning: bool
    series_of_each_kind: int
    wall_s: float
    sections: tuple[Section, ...]


def score(series: Series) -> Score:
    """Compare what is found in a series with what is true."""
    result = find_changes(series.end_s, series.latency_s, position=series.position)
    found = list(result.changes) if result is not None else []
    errors, onsets, ratios, signals = [], [], [], []
    matched = 0
    true = [c for c in series.changes if not 1 / MINIMUM_RATIO < c.ratio < MINIMUM_RATIO]
    for change in true:
        match = _nearest(found, change.onset_s, change.end_s, change.ratio)
        if match is None:
            continue
        found.remove(match)
        matched += 1
        if change.signal is not None:
            signals.append(change.signal)
        if series.shape != "drift":  # it begins with the run: there is no onset to find
            errors.append(abs(match.onset_s - change.onset_s))
            onsets.append(match.onset_low_s <= change.onset_s <= match.onset_high_s)
            ratios.append(match.ratio_low <= change.ratio <= match.ratio_high)
    return Score(
        shape=series.shape,
        noise=series.noise,
        step_s=series.step_s,
        noise_share=series.noise_share,
        ratio=series.ratio,
        true=len(true),
        found=matched,
        false=len(found),
        signals=tuple(change.signal for change in true if change.signal is not None),
        found_signals=tuple(signals),
        onset_error_s=tuple(errors),
        onset_covered=tuple(onsets),
        ratio_covered=tuple(ratios),
        oracle_signals=oracle_signals(series) if true else (),
        oracle_nulls=null_signals(series) if series.shape == "none" else (),
    )


def with_oracle(scores: Sequence[Score]) -> list[Score]:
    """Say what the oracle tells, if it raises as many false alarms in unchanged series."""
    unchanged = [each for each in scores if each.oracle_nulls]
    if not unchanged:
        return list(scores)
    rate = sum(each.false > 0 for each in unchanged) / len(unchanged)
    nulls = np.array([each.oracle_nulls for each in unchanged])
    least = dict(zip(FAMILIES, np.quantile(nulls, 1 - rate, axis=0, method="lower"), strict=True))
    return [
        replace(
            each,
            oracle_found=tuple(it > least[family(each.shape)] for it in each.oracle_signals),
        )
        if each.oracle_signals
        else each
        for each in scores
    ]


def cell(what: str, scores: Sequence[Score]) -> Cell:
    """Put scores together."""
    errors = [error for each in scores for error in each.onset_error_s]
    found, false = sum(each.found for each in scores), sum(each.false for each in scores)
    return Cell(
        what=what,
        series=len(scores),
        recall=_share(found, sum(each.true for each in scores)),
        oracle_recall=_mean([ok for each in scores for ok in each.oracle_found or ()]),
        precision=_share(found, found + false),
        alarms=sum(each.false > 0 for each in scores) / max(len(scores), 1),
        onset_median_s=float(np.median(errors)) if errors else None,
        onset_p90_s=float(np.quantile(errors, 0.9)) if errors else None,
        onset_coverage=_mean([ok for each in scores for ok in each.onset_covered]),
        ratio_coverage=_mean([ok for each in scores for ok in each.ratio_covered]),
    )


def by_signal(scores: Sequence[Score]) -> Section:
    """Return the recall of the changes by how far they stand out of the noise."""
    cells = []
    for low, high in itertools.pairwise(SIGNALS):
        there = sum(low <= it < high for each in scores for it in each.signals)
        found = sum(low <= it < high for each in scores for it in each.found_signals)
        if there:
            what = f"{low:g} and more" if math.isinf(high) else f"{low:g} to {high:g}"
            oracle = [
                ok
                for each in scores
                for signal, ok in zip(each.signals, each.oracle_found or (), strict=False)
                if low <= signal < high
            ]
            cells.append(
                Cell(what=what, series=there, recall=found / there, oracle_recall=_mean(oracle))
            )
    title = "Signal (rows count changes, by 1.05 and more)"
    return Section(title=title, judged=False, cells=tuple(cells))


def missed(section: Section) -> list[str]:
    """Return the goals that a section's cells do not reach, as sentences."""
    sentences: list[str] = []
    for each in section.cells if section.judged else ():
        if each.series < LEAST_JUDGED or not each.recall:
            continue  # nothing to find, or too few to say
        goals = (
            ("recall", each.recall, GOAL),
            ("precision", each.precision, GOAL),
            ("coverage of the onset", each.onset_coverage, GOAL_COVERAGE),
            ("coverage of the ratio", each.ratio_coverage, GOAL_COVERAGE),
        )
        sentences += [
            f"{section.title}, {each.what}: {name} is {value:.3f}, below {goal:.2f}."
            for name, value, goal in goals
            if value is not None and value < goal
        ]
    return sentences


def table(section: Section) -> str:
    """Return a section as a Markdown table."""
    lines = [
        f"## {section.title}",
        "",
        "| | series | recall | oracle's recall | precision | false alarms "
        "| onset error, median | p90 | onset in interval | ratio in interval |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in section.cells:
        figures = (
            _text(each.recall, ".3f"),
            _text(each.oracle_recall, ".3f"),
            _text(each.precision, ".3f"),
            _text(each.alarms, ".3f"),
            _text(each.onset_median_s, ".1f", " s"),
            _text(each.onset_p90_s, ".1f", " s"),
            _text(each.onset_coverage, ".3f"),
            _text(each.ratio_coverage, ".3f"),
        )
        lines.append(f"| {each.what} | {each.series} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def _nearest(found: Sequence[Change], onset_s: float, end_s: float, ratio: float) -> Change | None:
    near = [
        change
        for change in found
        if change.onset_s <= end_s + TOLERANCE_S
        and change.end_s >= onset_s - TOLERANCE_S
        and (change.ratio > 1) == (ratio > 1)
    ]
    return min(near, key=lambda change: abs(math.log(change.ratio / ratio)), default=None)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _text(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"
