"""What `edgegen evaluate` shows: a row a package and suite, shares by kind, the worst pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgegen.cli.console import Cell, Console

if TYPE_CHECKING:
    from edgegen.core.evaluation import Evaluation, PictureResult, SuiteResult
    from edgegen.evaluate.run import Evaluated

_WORST = 8
_COLUMNS = 4
_PERCENT = 100


def show_evaluations(
    console: Console, names: Sequence[str], evaluations: Sequence[Evaluation]
) -> None:
    """Print a row for each package and suite: in and out of what the model knows."""
    metrics = _metrics(evaluations)
    titles = [_title(name) for name in metrics]
    has_right = any(it.right is not None for each in evaluations for it in each.suites)
    columns = ["package", "suite", "pictures", titles[0], "worst", *titles[1:]]
    columns += ["right %", "model %"] if has_right else []
    rows = [
        _row(name, suite, metrics, has_right=has_right)
        for name, evaluation in zip(names, evaluations, strict=True)
        for suite in evaluation.suites
    ]
    console.table(
        "Pictures beside those of torch", [*columns, "show nothing"], rows, _notes(evaluations)
    )


def show_kinds(console: Console, names: Sequence[str], evaluations: Sequence[Evaluation]) -> None:
    """Print the share of right pictures of each kind, a column a package."""
    kinds = {
        (suite.suite, kind): None
        for evaluation in evaluations
        for suite in evaluation.suites
        for kind in suite.kinds
    }
    if not kinds:
        return
    rows: list[list[Cell]] = []
    for suite_name, kind in kinds:
        row: list[Cell] = [suite_name, kind]
        for evaluation in evaluations:
            suite = next((it for it in evaluation.suites if it.suite == suite_name), None)
            value = None if suite is None else suite.kinds.get(kind)
            row.append(None if value is None else round(_PERCENT * value))
        rows.append(row)
    console.table("Right pictures, %", ["suite", "kind", *names], rows)


def worst_page(found: Evaluated) -> bytes:
    """Return a PNG file of the worst pictures, each right of the reference's."""
    from edgegen_runner.png import encode_png

    from edgegen.evaluate.summary import worst_first
    from edgegen.report.pictures import Tile, grid

    pairs = {id(pair.result): pair for pair in found.pairs}
    results = [pair.result for pair in found.pairs]
    worst = worst_first("psnr", results)[:_WORST] or results[:_WORST]
    tiles = []
    for result in worst:
        pair = pairs[id(result)]
        tiles.append(Tile(pair.reference, f"torch: {_asked(result)}"))
        tiles.append(Tile(pair.package, _caption(result)))
    evaluation = found.evaluation
    title = f"The worst of {len(results)} pictures: {evaluation.target} {evaluation.recipe}"
    return encode_png(grid(tiles, columns=_COLUMNS, title=title))


def _row(name: str, suite: SuiteResult, metrics: Sequence[str], *, has_right: bool) -> list[Cell]:
    first = suite.metrics.get(metrics[0])
    row: list[Cell] = [name, suite.suite, suite.pictures]
    row += [None, None] if first is None else [round(first.mean, 1), round(first.worst, 1)]
    for metric in metrics[1:]:
        found = suite.metrics.get(metric)
        row.append(None if found is None else round(found.mean, 3))
    if has_right:
        row += [_percent(suite.right), _percent(suite.reference_right)]
    faults = ", ".join(f"{count} {fault}" for fault, count in suite.faults.items())
    return [*row, faults or None]


def _percent(value: float | None) -> int | None:
    return None if value is None else round(_PERCENT * value)


def _metrics(evaluations: Sequence[Evaluation]) -> list[str]:
    names = {name: None for it in evaluations for suite in it.suites for name in suite.metrics}
    return list(dict.fromkeys(["psnr", *names]))


def _title(name: str) -> str:
    from edgegen.core.evaluation import METRIC_TITLES

    title = METRIC_TITLES.get(name, name.upper())
    return f"{title} (dB)" if name == "psnr" else title


def _notes(evaluations: Sequence[Evaluation]) -> list[str]:
    from edgegen.core.evaluation import EQUAL_DB

    notes = [
        f"Means over pictures; PSNR of equal pictures counts as {EQUAL_DB:g} dB. Of PSNR and SSIM "
        "more is nearer, of FLIP less.",
    ]
    for each in dict.fromkeys((it.model, it.steps, it.reference_steps) for it in evaluations):
        model, steps, reference_steps = each
        notes.append(f"{model}: {steps} steps, torch {reference_steps}.")
    for evaluation in evaluations:
        if evaluation.arithmetic is not None:
            computed = f"computed in {evaluation.arithmetic}."
            notes.append(f"{evaluation.target} {evaluation.recipe}: {computed}")
        if evaluation.loras:
            with_loras = ", ".join(evaluation.loras)
            notes.append(f"{evaluation.target} {evaluation.recipe}: with {with_loras}.")
        drops = _steps(evaluation)
        if drops:
            notes.append(f"{evaluation.target} {evaluation.recipe}: {drops}")
    return notes


def _steps(evaluation: Evaluation) -> str:
    """Return the worst PSNR of the latents after the first and the last step that were compared."""
    from edgegen.core.units import format_decibels

    having = [it.steps_psnr_db for it in evaluation.pictures if it.steps_psnr_db]
    if not having:
        return ""
    first, last = (_least([it[place] for it in having]) for place in (0, -1))
    return (
        f"latents of {len(having)} pictures, worst: {format_decibels(first)} after the first step, "
        f"{format_decibels(last)} after the last."
    )


def _least(ratios_db: Sequence[float | None]) -> float | None:
    """Return the lowest ratio, None where all latents are equal."""
    return min((it for it in ratios_db if it is not None), default=None)


def _asked(result: PictureResult) -> str:
    text = "" if result.prompt is None else result.prompt
    return f"{text[:60] or '(nothing)'}, seed {result.seed}"


def _caption(result: PictureResult) -> str:
    from edgegen.core.units import format_decibels

    parts = [result.suite]
    if result.is_uncompared:
        parts.append("not compared: of another size")
    if "psnr" in result.scores:
        parts.append(f"PSNR {format_decibels(result.scores['psnr'])}")
    if result.fault is not None:
        parts.append(result.fault)
    if result.wrong:
        parts.append(f"wrong: {', '.join(result.wrong)}")
    return ", ".join(parts)
