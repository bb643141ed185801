"""A choice as one self-contained page: what won and why, frontiers, pictures, and where it is from.

Whatever comes from a model, a package or a prompt is text, never markup: `svg.element` escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgegen.core.choice import Choice, Row
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import FIGURES
from edgegen.core.measurement import Measurement
from edgegen.core.units import format_when
from edgegen.report.blocks import cards, explain, section, table_markup
from edgegen.report.choice_facts import measured, provenance
from edgegen.report.choice_pictures import pictures_sections
from edgegen.report.choice_table import candidates, legend
from edgegen.report.choice_text import (
    advice_table,
    figure_of,
    headline,
    nearest_misses,
    next_steps,
    shown_figures,
    verdict,
)
from edgegen.report.document import document, header
from edgegen.report.figure_text import (
    MEANINGS,
    format_range,
    format_value,
    limit_text,
    limit_value,
    titled,
)
from edgegen.report.frontier import COLOURS, frontier_chart, models
from edgegen.report.picture_pairs import Pictures
from edgegen.report.svg import Markup, element

_FIRST, _MORE = ("latency", "memory"), ("energy", "slowdown")
"""Figures of the device, over the size: those that are always shown, and those to be unfolded."""


def page(
    choice: Choice,
    evaluations: Mapping[str, Evaluation] | None = None,
    measurements: Mapping[str, Measurement] | None = None,
    pictures: Mapping[str, Pictures] | None = None,
) -> str:
    """Return the page of a choice.

    `evaluations`, `measurements` and `pictures` are by the names that the rows give their files;
    those that are missing leave their parts of the page out.
    """
    found, timed = evaluations or {}, measurements or {}
    body = [
        _header(choice),
        _outcome(choice),
        *_winners(choice),
        _misses(choice),
        _advice(choice),
        _warnings(choice),
        *_frontiers(choice),
        _table(choice),
        *pictures_sections(choice, found, pictures or {}),
        *measured(choice, timed),
        _next(choice),
        provenance(choice, found, timed),
    ]
    return document(
        f"Choice for {choice.device_title} – edgegen",
        body,
        choice,
        file_name="choice.json",
        made="Every figure above is in the raw data, with its origin. Made by edgegen.",
    )


def _header(choice: Choice) -> Markup:
    badges = [("", f"{len(choice.rows)} candidates")]
    badges += [("", limit_text(limit)) for limit in choice.limits] or [("warn", "no limit")]
    if choice.device is None:
        badges.append(("warn", "device not here: nothing was measured on it"))
    if choice.interrupted is not None:
        badges.append(("warn", "interrupted"))
    where = f"profile {choice.profile}" if choice.device is None else f"device {choice.device}"
    return header(
        f"Choice for {choice.device_title}",
        f"{where} · {format_when(choice.started_at)}",
        tuple(badges),
    )


def _outcome(choice: Choice) -> Markup:
    mood = "good" if choice.winners else "warn"
    return element("p", headline(choice), class_=f"verdict {mood} opening")


def _winners(choice: Choice) -> list[Markup]:
    several = len(choice.winners) > 1
    return [
        element(
            "section",
            *([element("h2", row.way.name)] if several else []),
            cards([_card(choice, row, name) for name in shown_figures(choice)]),
            class_="winner",
        )
        for row in choice.winners
    ]


def _card(choice: Choice, row: Row, name: str) -> tuple[str, str, str]:
    kind, figure = FIGURES[name], figure_of(row, name)
    limit = next((limit for limit in choice.limits if limit.figure == name), None)
    spread = format_range(kind, figure)
    details = [
        f"{kind.sense} {limit_value(limit)}" if limit is not None else "",
        spread,
        figure.origin,
    ]
    label = f"{titled(name)}, {MEANINGS[name]}"
    return label, format_value(kind, figure.value), " · ".join(filter(None, details))


def _misses(choice: Choice) -> Markup:
    rows = nearest_misses(choice)
    if not rows:
        return Markup("")
    lines = [
        element("li", element("strong", row.way.name), f": {verdict(choice, row)}") for row in rows
    ]
    return section("Nearest misses", element("ul", *lines, class_="notes"), plain=True)


def _advice(choice: Choice) -> Markup:
    table = advice_table(choice)
    return Markup("") if table is None else section(table.title, table_markup(table))


def _warnings(choice: Choice) -> Markup:
    if not choice.warnings:
        return Markup("")
    lines = [element("li", text, class_="warning") for text in choice.warnings]
    return section("What to know", element("ul", *lines, class_="notes"), plain=True)


def _frontiers(choice: Choice) -> list[Markup]:
    """Return the plots: the first four figures of a choice open, the others to be unfolded."""
    quality = [name for name in shown_figures(choice) if FIGURES[name].of_quality]
    first = [_plot(choice, choice.rows, "size", name) for name in _FIRST]
    more = [_plot(choice, choice.rows, "size", name) for name in _MORE]
    for place, name in enumerate(quality):
        drawn = _of_quality(choice, name)
        (more if place else first).extend(drawn)
    open_, folded = [it for it in first if it], [it for it in more if it]
    if not open_ and not folded:
        return []
    colours = [
        element("span", element("span", "", class_=f"chip s{i % COLOURS}"), f" {model}")
        for i, model in enumerate(models(choice))
    ]
    content = [
        element("h2", "What can be had"),
        explain(
            "Each mark is a candidate; bars are 95 % intervals, or ranges of predictions. Steps "
            "join those of a model that none of its others is better than in both figures. What "
            "lies beyond a limit is shaded; what does not fit is pale; rings are winners."
        ),
        element("p", *colours, class_="legend"),
        legend("measured", "predicted", "measured elsewhere"),
        element("div", *open_, class_="plots"),
    ]
    if folded:
        plots = element("div", *folded, class_="plots")
        content.append(element("details", element("summary", f"{len(folded)} more plots"), plots))
    return [element("section", *content, class_="frontiers")]


def _of_quality(choice: Choice, name: str) -> list[Markup]:
    """Return the plots of a quality; a paired one says nothing between models: a plot each."""
    if not FIGURES[name].paired or len(models(choice)) < 2:
        return [_plot(choice, choice.rows, across, name) for across in ("size", "latency")]
    return [
        _plot(choice, [row for row in choice.rows if row.way.model == model], across, name, model)
        for model in models(choice)
        for across in ("size", "latency")
    ]


def _plot(choice: Choice, rows: Sequence[Row], across: str, up: str, model: str = "") -> Markup:
    chart = frontier_chart(choice, rows, across, up)
    if chart is None:
        return Markup("")
    name = [element("div", model, class_="label")] if model else []
    return element("div", *name, chart, class_="card")


def _table(choice: Choice) -> Markup:
    return section(
        "All candidates",
        explain("Winners first, then near misses. A column's name sorts by it, where scripts run."),
        candidates(choice),
        legend(),
    )


def _next(choice: Choice) -> Markup:
    steps = next_steps(choice, Path())
    if not steps:
        return Markup("")
    rows = [
        element("li", f"{step.what[:1].upper()}{step.what[1:]}: ", element("code", step.command))
        for step in steps
    ]
    said = explain("In the folder of this result:")
    return section("What to do next", said, element("ul", *rows, class_="steps"))
