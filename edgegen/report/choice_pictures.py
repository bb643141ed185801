"""Pictures of the candidates beside those of their models, and what was found of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen.core.choice import Choice, Row
from edgegen.core.evaluation import Evaluation
from edgegen.report.blocks import explain, section, table_markup
from edgegen.report.choice_text import figure_of, sorted_rows
from edgegen.report.frontier import models
from edgegen.report.picture_grid import Column, Room, picture_rows, usual_and_worst
from edgegen.report.picture_pairs import NoPictures, Pictures
from edgegen.report.quality import suites_table
from edgegen.report.svg import Markup, element

_MOST_COLUMNS = 4
_USUAL, _WORST = 3, 4


def pictures_sections(
    choice: Choice, evaluations: Mapping[str, Evaluation], pictures: Mapping[str, Pictures]
) -> list[Markup]:
    """Return a section for each model that has evaluated candidates, the winner's first."""
    room = Room()
    shown: list[Markup] = []
    for model in _winners_first(choice):
        rows = _chosen([row for row in sorted_rows(choice) if row.way.model == model], evaluations)
        if rows:
            is_open = not shown or model in {row.way.model for row in choice.winners}
            shown.append(_of_model(model, rows, evaluations, pictures, room, is_open=is_open))
    return shown


def _of_model(
    model: str,
    rows: Sequence[Row],
    evaluations: Mapping[str, Evaluation],
    pictures: Mapping[str, Pictures],
    room: Room,
    *,
    is_open: bool,
) -> Markup:
    columns = [
        Column(
            title=_title(row),
            evaluation=evaluations[row.evaluation],
            pictures=pictures.get(row.evaluation, NoPictures()),
        )
        for row in rows
        if row.evaluation is not None
    ]
    first = columns[0]
    keys = usual_and_worst(first.evaluation, _USUAL, _WORST)
    table = suites_table([(column.title, column.evaluation) for column in columns])
    if not table.rows:
        return Markup("")
    drawn = picture_rows(columns, keys, room)
    left = " Some were left out to keep the page small." if room.is_full else ""
    content = [
        explain("Paired: the same prompts, seeds and noise through the model and the package."),
        table_markup(table),
    ]
    if drawn:
        said = (
            f"Some of each kind, then the worst of {first.title}, by PSNR; those that show nothing "
            f"or are wrong where the model's are right come first.{left}"
        )
        content += [explain(said), drawn]
    title = f"Pictures of {model.removeprefix('builtin:')}"
    if is_open:
        return section(title, *content)
    card = element("div", *content, class_="card")
    return element("section", element("details", element("summary", title), card))


def _winners_first(choice: Choice) -> tuple[str, ...]:
    return tuple(dict.fromkeys([row.way.model for row in choice.winners] + list(models(choice))))


def _chosen(rows: Sequence[Row], evaluations: Mapping[str, Evaluation]) -> tuple[Row, ...]:
    """Return evaluated rows to compare: the best standing first, then by size, far apart."""
    evaluated = [row for row in rows if row.evaluation in evaluations]
    if not evaluated:
        return ()
    first, *others = evaluated
    others.sort(key=lambda row: figure_of(row, "size").value or 0.0)
    most = _MOST_COLUMNS - 1
    step = max(1.0, (len(others) - 1) / max(1, most - 1))
    places = dict.fromkeys(min(round(i * step), len(others) - 1) for i in range(most))
    return (first, *(others[place] for place in places if others))


def _title(row: Row) -> str:
    title = f"{row.way.target} {row.way.recipe}, {row.way.drawn}"
    return f"{title} (winner)" if row.standing == "winner" else title
