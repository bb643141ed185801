"""What was found of pictures, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen.core.evaluation import Evaluation, SuiteResult
from edgegen.core.units import MISSING, counted, format_decibels, three_digits
from edgegen.report.picture_grid import FAULTS
from edgegen.report.table import Table

METRICS: Mapping[str, str] = {
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "gmsd": "GMSD",
    "flip": "FLIP",
    "lpips": "LPIPS",
    "clip": "CLIP",
}
"""What the metrics of pictures are called; another one keeps its name."""

SUITES: Mapping[str, str] = {
    "known": "what the model knows",
    "stress": "beyond what it knows",
}
"""What the suites that ship ask for; another one is described by its name."""


def metric_title(name: str) -> str:
    """Return what a metric is called."""
    return METRICS.get(name, name)


def metric_names(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Return the metrics that any of the evaluations has, those that are known first."""
    found = {
        name: None
        for evaluation in evaluations
        for suite in evaluation.suites
        for name in suite.metrics
    }
    return (*(name for name in METRICS if name in found), *(n for n in found if n not in METRICS))


def format_metric(name: str, value: float | None) -> str:
    """Write a value of a metric; a dash for None."""
    if value is None:
        return MISSING
    return format_decibels(value) if name == "psnr" else three_digits(value)


def package_title(evaluation: Evaluation) -> str:
    """Return what an evaluated package is called: `scenes-4step, onnx int8, 4 steps, 64×64`."""
    model = evaluation.model.removeprefix("builtin:")
    size = f"{evaluation.width}×{evaluation.height}"
    steps = counted(evaluation.steps, "step")
    return f"{model}, {evaluation.target} {evaluation.recipe}, {steps}, {size}"


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


def kinds_table(evaluation: Evaluation) -> Table | None:
    """Return the share of right pictures by kind, and the model's; None where nobody can tell."""
    rows = []
    for suite in evaluation.suites:
        for kind in dict.fromkeys(it.kind for it in evaluation.pictures if it.suite == suite.suite):
            of_kind = [
                it for it in evaluation.pictures if (it.suite, it.kind) == (suite.suite, kind)
            ]
            shares = [
                _share_of([it.right for it in of_kind]),
                _share_of([it.reference_right for it in of_kind]),
            ]
            if any(share is not None for share in shares):
                rows.append((kind, suite.suite, str(len(of_kind)), *map(_share, shares)))
    if not rows:
        return None
    columns = ("kind", "suite", "pictures", "right", "the model's")
    return Table(title="Right pictures, by kind", columns=columns, rows=tuple(rows))


def _share_of(right: Sequence[bool | None]) -> float | None:
    known = [it for it in right if it is not None]
    return sum(known) / len(known) if known else None


def _share(value: float | None) -> str:
    return MISSING if value is None else three_digits(value)
