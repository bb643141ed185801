"""The quality of packages as one self-contained page: distributions, kinds, and worst pictures."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.evaluation import Evaluation, SuiteResult
from edgegen.core.units import three_digits
from edgegen.report import blocks
from edgegen.report.blocks import cards, explain, section, table_markup
from edgegen.report.document import document, header
from edgegen.report.picture_grid import Column, Room, picture_rows, usual_and_worst
from edgegen.report.picture_pairs import Pictures
from edgegen.report.quality import (
    format_metric,
    kinds_table,
    metric_names,
    metric_title,
    named,
    suites_table,
    way_of,
)
from edgegen.report.quality_charts import distribution, steps_chart
from edgegen.report.svg import Markup, element

_USUAL, _WORST = 3, 6
_MOST_COLUMNS = 4

Evaluated = tuple[Evaluation, Pictures]


def page(evaluated: Sequence[Evaluated]) -> str:
    """Return the page of one evaluation, or of several side by side; ValueError for none."""
    if not evaluated:
        raise ValueError("a page of quality needs an evaluation")
    found = [evaluation for evaluation, _ in evaluated]
    titled, shared = named(found)
    several = len(found) > 1
    title = f"Quality of {way_of(found[0]).name}"
    if several:
        title = f"Quality of {len(found)} packages" + (f", all with {shared}" if shared else "")
    body = [
        _header(title, found),
        *([] if several else [_cards(suite) for suite in found[0].suites]),
        _warnings(titled),
        _suites(titled),
        _distributions(titled),
        _kinds(titled),
        *_pictures(evaluated, titled),
        *(_facts(label if several else "", evaluation) for label, evaluation in titled),
    ]
    raw = found[0] if not several else {"evaluations": found}
    return document(
        f"{title} – edgegen",
        body,
        raw,
        file_name="evaluation.json",
        made="Every figure above is computed from the raw data. Made by edgegen.",
    )


def _header(title: str, evaluations: Sequence[Evaluation]) -> Markup:
    first = evaluations[0]
    badges = [("", f"{len(first.pictures)} pictures"), ("", f"guidance {first.guidance:g}")]
    if first.reference_steps != first.steps:
        badges.append(("warn", f"reference at {first.reference_steps} steps"))
    faults = sum(it.fault is not None for each in evaluations for it in each.pictures)
    if faults:
        badges.append(("warn", f"{faults} show nothing"))
    if len({it.weights_sha256 for it in evaluations}) > 1:
        badges.append(("warn", "several models: paired metrics say nothing between them"))
    line = f"{first.runtime} · beside {first.reference}"
    return header(title, line, badges)


def _cards(suite: SuiteResult) -> Markup:
    shown = []
    if suite.right is not None:
        model = suite.reference_right
        beside = "" if model is None else f"; the model's {three_digits(model)}"
        shown.append(("Right", three_digits(suite.right), f"share of pictures{beside}"))
    for name, spread in list(suite.metrics.items())[:4]:
        worst = f"worst {format_metric(name, spread.worst)}"
        equal = f"; {spread.equal} equal" if spread.equal else ""
        mean = format_metric(name, spread.mean)
        shown.append((metric_title(name), mean, f"mean; {worst}{equal}"))
    return section(suite.suite.capitalize(), cards(shown), plain=True) if shown else Markup("")


def _warnings(named: Sequence[tuple[str, Evaluation]]) -> Markup:
    lines = dict.fromkeys(text for _, evaluation in named for text in evaluation.warnings)
    if not lines:
        return Markup("")
    items = [element("li", text, class_="warning") for text in lines]
    return section("What to know", element("ul", *items, class_="notes"), plain=True)


def _suites(named: Sequence[tuple[str, Evaluation]]) -> Markup:
    table = suites_table(named)
    if not table.rows:
        return Markup("")
    said = (
        "Paired: the same prompts, seeds and noise through the model and the package. A suite of "
        "what the model knows and one of what lies beyond it are two numbers, never one."
    )
    return section(table.title, explain(said), table_markup(table))


def _distributions(named: Sequence[tuple[str, Evaluation]]) -> Markup:
    several = len(named) > 1
    rows = [
        (
            f"{suite.suite}: {label}" if several else suite.suite,
            [it for it in evaluation.pictures if it.suite == suite.suite],
        )
        for label, evaluation in named
        for suite in evaluation.suites
    ]
    names = metric_names([evaluation for _, evaluation in named])
    charts = [distribution(name, rows) for name in names] + [steps_chart(named)]
    drawn = [element("div", chart, class_="card") for chart in charts if chart]
    if not drawn:
        return Markup("")
    return section(
        "Each picture",
        explain(
            "Each dot is a picture, the box the middle half, the line in it the median. Over the "
            "steps: the median of the pictures, and pale the worst."
        ),
        element("div", *drawn, class_="plots"),
        plain=True,
    )


def _kinds(named: Sequence[tuple[str, Evaluation]]) -> Markup:
    table = kinds_table(named)
    return Markup("") if table is None else section(table.title, table_markup(table))


def _pictures(
    evaluated: Sequence[Evaluated], named: Sequence[tuple[str, Evaluation]]
) -> list[Markup]:
    """Return pictures side by side for each model: only those of one have the same prompts."""
    room = Room()
    shown = []
    for weights in dict.fromkeys(evaluation.weights_sha256 for evaluation, _ in evaluated):
        columns = [
            Column(title=label, evaluation=evaluation, pictures=pictures)
            for (label, _), (evaluation, pictures) in zip(named, evaluated, strict=True)
            if evaluation.weights_sha256 == weights
        ][:_MOST_COLUMNS]
        first = columns[0]
        rows = picture_rows(columns, usual_and_worst(first.evaluation, _USUAL, _WORST), room)
        if rows:
            left = " Some were left out to keep the page small." if room.is_full else ""
            said = f"Some of each kind, then the worst of {first.title}.{left}"
            shown.append(section("Pictures, and the worst", explain(said), rows))
    return shown


def _facts(label: str, evaluation: Evaluation) -> Markup:
    rows = [
        ("Package", f"{evaluation.model}, {evaluation.target}, {evaluation.recipe}"),
        ("Drawn", f"{evaluation.width}×{evaluation.height}, {evaluation.drawn}"),
        ("Guidance", f"{evaluation.guidance:g}"),
        *((("LoRAs", ", ".join(evaluation.loras)),) if evaluation.loras else ()),
        ("Ran on", evaluation.runtime),
        ("Arithmetic", evaluation.arithmetic or "the recipe's"),
        ("Reference", f"{evaluation.reference}, {evaluation.reference_steps} steps"),
        ("Manifest SHA-256", evaluation.manifest_sha256),
        ("Weights SHA-256", evaluation.weights_sha256),
    ]
    title = f"Where it is from: {label}" if label else "Where it is from"
    return section(title, blocks.facts(rows))
