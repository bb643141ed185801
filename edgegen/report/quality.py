"""What was found of pictures, as tables."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.choice import Way
from edgegen.core.evaluation import METRIC_TITLES, Evaluation, SuiteResult
from edgegen.core.units import MISSING, format_decibels, three_digits
from edgegen.report.choice_text import short_names
from edgegen.report.picture_grid import FAULTS
from edgegen.report.plain import csv_text
from edgegen.report.table import Table

_SMALLEST = 0.001
"""A metric nearer to 0 is written as below it: nobody sees the difference."""


def metric_title(name: str) -> str:
    """Return what a metric is called."""
    return METRIC_TITLES.get(name, name)


def metric_names(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the metrics that any of the evaluations has, those that are known first."""
    found = {
        name: None
        for evaluation in evaluations
        for suite in evaluation.suites
        for name in suite.metrics
    }
    return (
        *(name for name in METRIC_TITLES if name in found),
        *(n for n in found if n not in METRIC_TITLES),
    )


def format_metric(name: str, value: float | None) -> str:
    """Write a value of a metric; a dash for None."""
    if value is None:
        return MISSING
    if name == "psnr":
        return format_decibels(value)
    return three_digits(value) if abs(value) >= _SMALLEST or value == 0 else f"< {_SMALLEST:g}"


def way_of(evaluation: Evaluation) -> Way:
    """Return what an evaluated package is, and how it drew."""
    return Way(
        model=evaluation.model,
        target=evaluation.target,
        recipe=evaluation.recipe,
        steps=evaluation.steps,
        width=evaluation.width,
        height=evaluation.height,
    )


def named(evaluations: Sequence[Evaluation]) -> tuple[list[tuple[str, Evaluation]], str]:
    """Return each with a title, without what all share, and that.

    Those that would be called the same get a number.
    """
    titles, shared = short_names([way_of(it) for it in evaluations])
    numbered = [
        f"{title} ({place})" if titles.count(title) > 1 else title
        for place, title in enumerate(titles, start=1)
    ]
    return list(zip(numbered, evaluations, strict=True)), shared


def suites_table(evaluations: Sequence[tuple[str, Evaluation]]) -> Table:
    """Return a row for each suite of each evaluation: right pictures, means, worsts and faults."""
    metrics = metric_names([evaluation for _, evaluation in evaluations])
    several = len(evaluations) > 1
    columns = [
        *(["package"] if several else []),
        "suite",
        "pictures",
        "right",
        "of the model's",
        *(
            text
            for name in metrics
            for text in (metric_title(name), f"{metric_title(name)}, worst")
        ),
        "show nothing",
    ]
    rows = [
        (*([title] if several else []), *_suite_row(suite, metrics))
        for title, evaluation in evaluations
        for suite in evaluation.suites
    ]
    kept = [
        place
        for place, name in enumerate(columns)
        if name not in ("right", "of the model's") or any(row[place] != MISSING for row in rows)
    ]
    return Table(
        title="In and out of what the model knows",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        words=("suite", "show nothing"),
    )


def _suite_row(suite: SuiteResult, metrics: Sequence[str]) -> tuple[str, ...]:
    cells = [suite.suite, str(suite.pictures), _share(suite.right), _share(suite.reference_right)]
    for name in metrics:
        spread = suite.metrics.get(name)
        cells.append(format_metric(name, None if spread is None else spread.mean))
        cells.append(format_metric(name, None if spread is None else spread.worst))
    faults = [f"{count} {FAULTS.get(name, name)}" for name, count in suite.faults.items() if count]  # type: ignore[call-overload]  # a fault of a later version keeps its name
    return (*cells, ", ".join(faults) or "none")


def kinds_table(evaluations: Sequence[tuple[str, Evaluation]]) -> Table | None:
    """Return the share of right pictures by kind, and the model's; None where nobody can tell."""
    several = len(evaluations) > 1
    rows = [
        (*([title] if several else []), *row)
        for title, evaluation in evaluations
        for row in _kinds(evaluation)
    ]
    if not rows:
        return None
    columns = ("kind", "suite", "pictures", "right", "the model's")
    return Table(
        title="Right pictures, by kind",
        columns=("package", *columns) if several else columns,
        rows=tuple(rows),
        words=("suite", "kind"),
    )


def _kinds(evaluation: Evaluation) -> Sequence[tuple[str, ...]]:
    rows = []
    for suite, kind in dict.fromkeys((it.suite, it.kind) for it in evaluation.pictures):
        pictures = [it for it in evaluation.pictures if (it.suite, it.kind) == (suite, kind)]
        right = _share_of([it.right for it in pictures])
        models = _share_of([it.reference_right for it in pictures])
        if right is not None or models is not None:
            rows.append((kind, suite, str(len(pictures)), _share(right), _share(models)))
    return rows


def _share_of(right: Sequence[bool | None]) -> float | None:
    known = [it for it in right if it is not None]
    return sum(known) / len(known) if known else None


def _share(value: float | None) -> str:
    return MISSING if value is None else three_digits(value)


def csv(evaluations: Sequence[Evaluation]) -> str:
    """Return a row for each picture of each evaluation; the PSNR of equal pictures is empty."""
    metrics = metric_names(evaluations)
    columns = ("model", "target", "recipe", "steps", "width", "height", "manifest_sha256")
    pictures = ("suite", "kind", "prompt", "seed")
    found = ("fault", "reference_fault", "right", "reference_right", "wrong")
    rows = [
        (
            *(it.model, it.target, it.recipe, it.steps, it.width, it.height, it.manifest_sha256),
            *(picture.suite, picture.kind, picture.prompt, picture.seed),
            *(picture.scores.get(name) for name in metrics),
            *(picture.fault, picture.reference_fault, picture.right, picture.reference_right),
            " ".join(picture.wrong),
        )
        for it in evaluations
        for picture in it.pictures
    ]
    return csv_text((*columns, *pictures, *metrics, *found), rows)
