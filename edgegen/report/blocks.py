"""The blocks that a page is built of."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.report.svg import Markup, element, join
from edgegen.report.table import Table


def table_markup(table: Table) -> Markup:
    """Return a table of figures; where it is too wide it scrolls beside its first column."""
    kinds = ["words" if i and not table.is_figure(i) else None for i in range(len(table.columns))]
    head = element(
        "tr",
        *(
            element("th", name, class_=kind, scope="col")
            for name, kind in zip(table.columns, kinds, strict=True)
        ),
    )
    rows = [
        element(
            "tr",
            *(element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)),
        )
        for row in table.rows
    ]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", *rows), class_="figures"),
        class_="scroll",
    )


def section(title: str, *content: Markup, plain: bool = False) -> Markup:
    """Return a heading and its content, on a card unless `plain`; nothing without content."""
    inside = join(list(content)) if plain else element("div", *content, class_="card")
    return element("section", element("h2", title), inside)


def pair(*sections: Markup) -> Markup:
    """Return sections side by side where there is room; empty ones are left out."""
    shown = [section for section in sections if section]
    return element("div", *shown, class_="pair") if len(shown) > 1 else join(shown)


def explain(text: str) -> Markup:
    """Return what a chart shows, in a sentence or two."""
    return element("p", text, class_="explain")


def wide(chart: Markup) -> Markup:
    """Return a chart that scrolls on a narrow screen, which a line above it says there."""
    hint = element("p", "Wider than this screen: scroll it sideways →", class_="sideways")
    return join([hint, element("div", chart, class_="scroll wide", tabindex="0")])


def cards(rows: Sequence[tuple[str, str, str]]) -> Markup:
    """Return figures as cards: what it is, the figure, and what belongs to it."""
    return element(
        "div",
        *(
            element(
                "div",
                element("div", label, class_="label"),
                element("div", value, class_="value"),
                element("div", detail, class_="detail"),
                class_="card",
            )
            for label, value, detail in rows
        ),
        class_="cards",
    )


def facts(rows: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Return names with what belongs to each, which stand below one another on a narrow screen."""
    written = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in rows
    ]
    return element("table", element("tbody", *written), class_="facts")
