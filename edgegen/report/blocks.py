"""The blocks that a page is built of."""

from __future__ import annotations

from edgegen.report.svg import Markup, element, join
from edgegen.report.terminal import Table


def table_markup(table: Table) -> Markup:
    """Return a table of figures, that scrolls where it is too wide."""
    head = element("tr", *(element("th", name) for name in table.columns))
    rows = [element("tr", *(element("td", cell) for cell in row)) for row in table.rows]
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
    """Return a chart that scrolls on a narrow screen."""
    return element("div", chart, class_="scroll wide")
