"""A choice as text: its outcome in a sentence, the table of candidates, and what to do next.

The page, Markdown and the terminal say the same words.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.choice import Choice, Row, Standing, Way
from edgegen.core.figures import FIGURES, UNKNOWN, Figure, Limit
from edgegen.core.run_command import run_command
from edgegen.core.units import MISSING, counted, format_duration
from edgegen.report.figure_text import (
    MARKS,
    broken_text,
    format_range,
    format_value,
    limit_text,
    marked,
)
from edgegen.report.table import Table

STANDINGS: dict[Standing, str] = {
    "winner": "fits: smallest",
    "fits": "fits",
    "breaks": "breaks a limit",
    "unknown": "unknown",
    "failed": "failed",
    "not needed": "not needed",
    "not tried": "not tried",
}
"""What each standing is called; also the order of tables."""

_ORDER = tuple(STANDINGS)
_ALWAYS = ("size", "latency", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """Something to do with a winner: what it does, and the command line."""

    what: str
    command: str


def figure_of(row: Row, name: str) -> Figure:
    """Return a figure of a row; one that it lacks is unknown."""
    return row.figures.get(name, UNKNOWN)


def shown_figures(choice: Choice) -> tuple[str, ...]:
    """Return the figures that a table of the choice has: those known, and those with a limit."""
    names = {*_ALWAYS, *(limit.figure for limit in choice.limits)}
    for row in choice.rows:
        names |= {name for name, figure in row.figures.items() if figure.value is not None}
    return tuple(name for name in FIGURES if name in names)


def told_figures(choice: Choice) -> tuple[str, ...]:
    """Return the figures that a terminal has room for: those with a limit, and one of quality."""
    names = {*_ALWAYS, *(limit.figure for limit in choice.limits)}
    known = [name for name in shown_figures(choice) if FIGURES[name].of_quality]
    if not names & set(known):
        names |= set(known[:1])
    return tuple(name for name in FIGURES if name in names)


def verdict(choice: Choice, row: Row) -> str:
    """Return why a row won or did not: `latency 25 % over 500 ms`, `fits: smallest`."""
    match row.standing:
        case "winner":
            return _winner_text(choice)
        case "fits":
            return f"fits, {_why_second(choice, row)}"
        case "breaks":
            texts = [broken_text(limit, figure_of(row, limit.figure)) for limit in row.broken]
            return "; ".join(texts) or row.why or STANDINGS["breaks"]
        case "unknown":
            names = [limit.kind.title for limit in unknown_limits(choice, row)]
            return _with_reason(f"unknown: {', '.join(names)}" if names else "unknown", row.why)
        case "failed" | "not needed" | "not tried":
            return _with_reason(row.standing, row.why)


def unknown_limits(choice: Choice, row: Row) -> tuple[Limit, ...]:
    """Return the limits that need a figure which nobody has."""
    return tuple(
        limit for limit in choice.limits if figure_of(row, limit.figure).passes(limit) is None
    )


def sorted_rows(choice: Choice) -> tuple[Row, ...]:
    """Return the rows as tables have them: winners, then by standing, near misses first."""

    def key(row: Row) -> tuple[float, ...]:
        size = figure_of(row, "size").value
        missed = excess(row) if row.standing == "breaks" else 0.0
        return (_ORDER.index(row.standing), missed, float("inf") if size is None else size)

    return tuple(sorted(choice.rows, key=key))


def excess(row: Row) -> float:
    """Return by how much of a limit a row breaks the worst of its limits; see `Limit.excess`."""
    amounts = []
    for limit in row.broken:
        figure = figure_of(row, limit.figure)
        worse = figure.high if limit.kind.sense == "at most" else figure.low
        worse = figure.value if worse is None else worse
        amounts.append(float("inf") if worse is None else limit.excess(worse))
    return max(amounts, default=float("inf"))


def nearest_misses(choice: Choice, most: int = 3) -> tuple[Row, ...]:
    """Return the rows that break their limits by the least; empty where something fits."""
    if any(row.standing in ("winner", "fits") for row in choice.rows):
        return ()
    broken = [row for row in sorted_rows(choice) if row.standing == "breaks" and row.broken]
    return tuple(broken[:most])


def headline(choice: Choice) -> str:
    """Return the outcome in a sentence or two."""
    winners, count = choice.winners, len(choice.rows)
    fitting = sum(row.standing in ("winner", "fits") for row in choice.rows)
    among = f"of {counted(count, 'candidate')}"
    cut = f" Interrupted: {choice.interrupted}." if choice.interrupted is not None else ""
    if len(winners) == 1:
        name = winners[0].way.name
        if not choice.limits:
            return f"{name} is the smallest {among}; no limit was given.{cut}"
        if fitting == 1:
            return f"{name} fits, as the only one {among} that is known to.{cut}"
        return f"{name} fits: the smallest of {fitting} that do, {among}.{cut}"
    if winners:
        names = "; ".join(row.way.name for row in winners)
        return f"One winner a model, {among}: {names}.{cut}"
    kinds = Counter(row.standing for row in choice.rows)
    if kinds["failed"] == count and count and not cut:
        reasons = {row.why for row in choice.rows}
        why = f": {reasons.pop().rstrip('.')}" if len(reasons) == 1 else "; the table says why"
        return f"None {among} can be built and run{why}."
    if kinds["breaks"] + kinds["failed"] == count and not cut:
        return f"None {among} meets every limit."
    words = {**STANDINGS, "breaks": "breaks a limit" if kinds["breaks"] == 1 else "break a limit"}
    told = ", ".join(f"{kinds[it]} {words[it]}" for it in _ORDER if kinds[it])
    return f"None {among} is known to meet every limit ({told}).{cut}"


def limits_sentence(choice: Choice) -> str:
    """Return the limits in one line: `size at most 60.0 MB; latency at most 500 ms`."""
    return "; ".join(limit_text(limit) for limit in choice.limits) or "no limit"


def table(choice: Choice, most: int | None = None, figures: Sequence[str] | None = None) -> Table:
    """Return the table of candidates, at most `most` rows; what all share is said in its title.

    `figures` are those of a terminal unless they are given.
    """
    rows = sorted_rows(choice)
    names, shared = short_names([row.way for row in rows])
    figures = told_figures(choice) if figures is None else figures
    cells = [
        (name, verdict(choice, row), *(_cell(row, figure) for figure in figures))
        for name, row in zip(names[:most], rows[:most], strict=True)
    ]
    title = f"Candidates on {choice.device_title}" + (f", all with {shared}" if shared else "")
    columns = ("candidate", "verdict", *(FIGURES[name].title for name in figures))
    words = ("verdict", FIGURES["latency"].title)
    return Table(title=title, columns=columns, rows=tuple(cells), words=words)


def notes(choice: Choice, most: int | None = None) -> tuple[str, ...]:
    """Return what is said below the table: its marks, what it leaves out, and what was spent."""
    origins = {figure_of(row, name).origin for row in choice.rows for name in shown_figures(choice)}
    marks = [f"{mark} {name}" for name, mark in MARKS.items() if mark and name in origins]
    said = [f"{'; '.join(marks)}; without a mark: measured."] if marks else []
    left = 0 if most is None else len(choice.rows) - most
    if left > 0:
        said.append(f"{left} more {'are' if left > 1 else 'is'} in the report.")
    return (*said, spent_sentence(choice))


def spent_sentence(choice: Choice) -> str:
    """Return what the run did and took; what the cache had is in no count."""
    spent = choice.spent
    parts = [
        counted(count, name) + (f" ({format_duration(time_s)})" if count else "")
        for count, name, time_s in (
            (spent.conversions, "conversion", spent.conversion_s),
            (spent.evaluations, "evaluation", spent.evaluation_s),
            (spent.measurements, "measurement", spent.measurement_s),
        )
    ]
    return f"Took {format_duration(spent.wall_s)}: {', '.join(parts)}."


def advice_table(choice: Choice) -> Table | None:
    """Return the changes that would help, with what each is predicted to do; None without any."""
    if not choice.advice:
        return None
    names = [name for name in FIGURES if any(name in it.predicted for it in choice.advice)]
    rows = tuple(
        (
            it.change,
            *(_range_or_value(it.predicted.get(name, UNKNOWN), name) for name in names),
        )
        for it in choice.advice
    )
    columns = ("change", *(FIGURES[name].title for name in names))
    return Table(title="What would help, as predicted", columns=columns, rows=rows)


def next_steps(choice: Choice, folder: Path) -> tuple[NextStep, ...]:
    """Return what to type next for each winner; `folder` is that of the result."""
    steps = []
    address = choice.device
    if address is not None and address != "local" and "://" not in address:
        address = None  # a name that only the machines of a farm know
    for row in choice.winners:
        if row.package is None:
            continue
        package, way = str(folder / row.package), row.way
        size = ["--steps", str(way.steps), "--width", str(way.width), "--height", str(way.height)]
        where = [] if address in (None, "local") else ["-d", str(address)]
        if address != "local":
            device = address or "DEVICE"
            what = f"put {way.name} on the device"
            steps.append(NextStep(what=what, command=_line("deploy", package, "-d", device)))
        draw = NextStep(
            what="draw with it", command=run_command(package, row.needed, *where, *size)
        )
        measure = ["--steps", str(way.steps), *where, "--html", "bench.html"]
        steps += [
            draw,
            NextStep(what="measure it at length", command=_line("bench", package, *measure)),
        ]
    return tuple(steps)


def short_names(ways: Sequence[Way]) -> tuple[list[str], str]:
    """Return the candidates' names without what all share, and that: `4 steps, 64×64`.

    Model, target and recipe always stay.
    """
    drawn = {way.drawn for way in ways}
    sizes = {(way.width, way.height) for way in ways}
    names, shared = [], []
    if len(drawn) == 1:
        shared.append(drawn.copy().pop())
    if len(sizes) == 1:
        shared.append("{}×{}".format(*sizes.copy().pop()))
    for way in ways:
        parts = [f"{way.model.removeprefix('builtin:')}, {way.target} {way.recipe}"]
        parts += [way.drawn] if len(drawn) > 1 else []
        parts += [f"{way.width}×{way.height}"] if len(sizes) > 1 else []
        names.append(", ".join(parts))
    return names, ", ".join(shared)


def _line(*words: str) -> str:
    return "edgegen " + shlex.join(words)


def _cell(row: Row, name: str) -> str:
    """Return a figure with its mark; a latency has its interval, too: `107 ms (104…110)`."""
    kind, figure = FIGURES[name], figure_of(row, name)
    text, spread = marked(kind, figure), format_range(kind, figure)
    if name != "latency" or not spread:
        return text
    unit = format_value(kind, figure.value).rpartition(" ")[2]
    return f"{text} ({spread.removesuffix(f' {unit}').replace(' … ', '…')})"


def _range_or_value(figure: Figure, name: str) -> str:
    if figure.value is None:
        return MISSING
    return format_range(FIGURES[name], figure) or format_value(FIGURES[name], figure.value)


def _winner_text(choice: Choice) -> str:
    if len(choice.winners) > 1:
        return f"{STANDINGS['winner']} of its model"
    return STANDINGS["winner"]


def _why_second(choice: Choice, row: Row) -> str:
    """Return why a row that fits did not win."""
    if row.why:
        return row.why
    size = figure_of(row, "size").value
    sizes = [figure_of(it, "size").value for it in choice.winners]
    smaller = size is not None and all(it is not None and size < it for it in sizes)
    return "preferred less" if smaller else "larger"


def _with_reason(text: str, why: str) -> str:
    return (
        f"{text}: {why.rstrip('.')}"
        if why and ":" not in text
        else (f"{text}; {why.rstrip('.')}" if why else text)
    )
