"""The table of candidates on a page: every figure with its origin, sorted by a script or not."""

from __future__ import annotations

from edgegen.core.choice import Choice, Row
from edgegen.core.figures import FIGURES, Figure, Origin
from edgegen.report.choice_text import STANDINGS, figure_of, shown_figures, sorted_rows, verdict
from edgegen.report.figure_text import MEANINGS, format_range, format_value, titled
from edgegen.report.frontier import COLOURS, models
from edgegen.report.svg import Markup, element, join

ORIGINS: dict[Origin, str] = {
    "measured": "on the device itself, or computed here from its pictures",
    "predicted": "not measured; the range is that of the prediction",
    "measured elsewhere": "on another device of the same kind, or in an earlier session",
    "unknown": "nobody has it, and a limit on it is not met",
}
"""What each origin of a figure means; the page's symbols are named after them."""


def candidates(choice: Choice) -> Markup:
    """Return the whole table, whose columns a script sorts by."""
    figures = shown_figures(choice)
    head = [
        element("th", "candidate", scope="col", data_sort="text"),
        element("th", "verdict", scope="col", class_="words", data_sort="number"),
        *(
            element("th", FIGURES[it].title, scope="col", data_sort="number", title=MEANINGS[it])
            for it in figures
        ),
    ]
    colours = {model: f"s{i % COLOURS}" for i, model in enumerate(models(choice))}
    rows = [_row(choice, row, figures, colours[row.way.model]) for row in sorted_rows(choice)]
    caption = element("caption", "All candidates, with the reason of each", class_="hidden")
    table = element(
        "table",
        caption,
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        class_="figures candidates",
        id="candidates",
    )
    return element(
        "div", table, class_="scroll", tabindex="0", role="region", aria_label="Candidates"
    )


def legend(*origins: Origin) -> Markup:
    """Return what the symbols of these origins, or of all, mean; plots have the same."""
    parts = [
        element("span", _mark(origin), f" {origin}", element("span", f": {text}", class_="meaning"))
        for origin, text in ORIGINS.items()
        if not origins or origin in origins
    ]
    return element("p", *parts, class_="legend")


def sources(choice: Choice) -> tuple[tuple[str, str], ...]:
    """Return where figures come from, each once: the origin, and its words."""
    found = {
        (figure.origin, figure.source): None
        for row in choice.rows
        for figure in row.figures.values()
        if figure.source
    }
    order = list(ORIGINS)
    return tuple(sorted(found, key=lambda it: order.index(it[0])))


def _row(choice: Choice, row: Row, figures: tuple[str, ...], colour: str) -> Markup:
    way = row.way
    name = element(
        "th",
        element("span", "", class_=f"chip {colour}"),
        element("span", way.model.removeprefix("builtin:"), class_="model"),
        element("span", f"{way.target} {way.recipe}", class_="how"),
        element("span", f"{way.drawn}, {way.width}×{way.height}", class_="detail"),
        scope="row",
        data_value=way.name,
    )
    broken = {limit.figure for limit in row.broken}
    cells = [_cell(figure_of(row, name), name, is_broken=name in broken) for name in figures]
    said = element(
        "td", verdict(choice, row), class_="words", data_value=tuple(STANDINGS).index(row.standing)
    )
    return element("tr", name, said, *cells, class_=row.standing.replace(" ", "-"))


def _cell(figure: Figure, name: str, *, is_broken: bool) -> Markup:
    kind = FIGURES[name]
    spread = format_range(kind, figure)
    return element(
        "td",
        _mark(figure.origin if figure.value is not None else "unknown"),
        element("span", format_value(kind, figure.value)),
        *([element("span", spread, class_="detail")] if spread else []),
        class_="broken" if is_broken else None,
        title=f"{titled(name)}: {figure.origin}{f', {figure.source}' if figure.source else ''}",
        data_value=None if figure.value is None else repr(figure.value),
    )


def _mark(origin: Origin) -> Markup:
    """Return the symbol of an origin, which a screen reader reads as a word."""
    name = origin.replace(" ", "-")
    return join(
        [
            element("span", "", class_=f"mark {name}", aria_hidden="true"),
            element("span", f"{origin} ", class_="hidden"),
        ]
    )
