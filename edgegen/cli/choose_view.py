"""What `edgegen choose` shows: the plan, the table while it works, and the result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.cli.console import Cell, Console, LiveTable
from edgegen.core.units import format_bytes, format_duration

if TYPE_CHECKING:
    from edgegen.choose.prepare import Prepared
    from edgegen.choose.run import Run, Watcher
    from edgegen.choose.search import Action
    from edgegen.choose.tasks import Done
    from edgegen.core.choice import Choice
    from edgegen.core.progress import Progress

_DID = {"build": "built", "evaluate": "judged", "measure": "measured", "probe": "judged in torch"}
_DOES = {"build": "build", "evaluate": "judge", "measure": "measure", "probe": "judge in torch"}
_TERMINAL_ROWS = 30


def show_plan(console: Console, prepared: Prepared, *, as_json: bool) -> None:
    """Print what would be tried, in the order in which it would be, and about how long it takes."""
    from edgegen.choose.estimate import estimate
    from edgegen.choose.standings import rows_of
    from edgegen.report.figure_text import limit_text

    search = prepared.search
    guess = estimate(prepared)
    rows = rows_of(search)
    first = [search.problem.candidates[place].way for place in search.order()]
    if as_json:
        console.json(
            {
                "candidates": len(rows),
                "order": [{"name": way.name, "way": way} for way in first],
                "dropped": [
                    {"name": row.way.name, "why": row.why or [it.figure for it in row.broken]}
                    for row in rows
                    if row.way not in first
                ],
                "limits": prepared.limits,
                "packages": guess.packages,
                "longest_s": guess.longest_s,
                "warnings": prepared.warnings,
            }
        )
        return
    table: list[list[Cell]] = []
    for number, place in enumerate(search.order(), start=1):
        size = search.figures(place).get("size")
        known = None if size is None or size.value is None else format_bytes(size.value)
        table.append([number, search.problem.candidates[place].way.name, known, "may win"])
    for row in rows:
        if row.way not in first:
            size = row.figures.get("size")
            known = None if size is None or size.value is None else format_bytes(size.value)
            broken = ", ".join(limit_text(limit) for limit in row.broken)
            table.append([None, row.way.name, known, row.why or f"breaks {broken}, as predicted"])
    if all(row.standing == "failed" for row in rows):
        outlook = "Nothing would be tried: no candidate can be built and run."
    elif not first:
        outlook = "Nothing would be tried: no candidate can meet every limit."
    else:
        outlook = (
            f"If all of them were tried: {guess.packages} conversions, "
            f"about {format_duration(guess.longest_s)}. It ends as soon as nothing else can win."
        )
    console.table(
        f"{len(rows)} candidates for {prepared.place.title}",
        ["turn", "candidate", "size, about", "why"],
        table,
        notes=[
            f"Limits: {'; '.join(limit_text(limit) for limit in prepared.limits)}.",
            outlook,
        ],
    )


def show_choice(console: Console, choice: Choice, folder: Path) -> None:
    """Print the result: what won, the table of all candidates, what to change, what to do next."""
    from edgegen.report.choice_text import advice_table, headline, next_steps, notes, table

    shown = table(choice)
    console.table(shown.title, shown.columns, shown.rows, notes=notes(choice))
    console.print()
    console.print(headline(choice))
    advice = advice_table(choice)
    if advice is not None:
        console.table(advice.title, advice.columns, advice.rows)
    for step in next_steps(choice, folder):
        console.print(f"{step.what}: {step.command}")
    console.print(f"The page: {folder / 'report.html'}")


@contextmanager
def watching(console: Console) -> Iterator[tuple[Watcher, Progress]]:
    """Yield who shows how a choice gets on: a live table on a terminal, else lines."""
    with console.live() as live:
        if live is None:
            yield _Lines(console), console.progress
        else:
            yield _Live(live), live


class _Lines:
    """Writes a line for everything that was done."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def started(self, run: Run, action: Action) -> None:
        """Say what is being done."""
        self._console.note(f"{_DOES[action.kind]} {_name(run, action)} …")

    def ended(self, run: Run, action: Action, done: Done) -> None:
        """Say what came of it."""
        self._console.note(_line(run, action, done))


class _Live:
    """Draws the table again after everything that was done."""

    def __init__(self, live: LiveTable) -> None:
        self._live = live

    def started(self, run: Run, action: Action) -> None:
        """Say what is being done."""
        self._live.say(f"{_DOES[action.kind]} {_name(run, action)}")
        self._draw(run)

    def ended(self, run: Run, action: Action, done: Done) -> None:
        """Draw what is known now."""
        self._live.say(_line(run, action, done))
        self._draw(run)

    def _draw(self, run: Run) -> None:
        from edgegen.report.choice_text import table

        shown = table(run.choice(), most=_TERMINAL_ROWS)
        self._live.table(shown.title, shown.columns, shown.rows)


def _name(run: Run, action: Action) -> str:
    if action.kind == "build":
        return action.package
    if action.model is not None:
        return f"{action.model.model} at {action.model.steps} steps"
    name = run.search.problem.candidates[action.place].way.name
    return f"{name} (a look)" if action.effort == "look" else name


def _line(run: Run, action: Action, done: Done) -> str:
    from edgegen.core.figures import FIGURES
    from edgegen.report.figure_text import format_value

    name = _name(run, action)
    if done.failed:
        return f"{name}: failed: {done.failed}"
    figures = ", ".join(
        f"{FIGURES[it].title} {format_value(FIGURES[it], figure.value)}"
        for it, figure in done.figures.items()
        if figure.value is not None
    )
    took = "already there" if done.from_cache else format_duration(done.wall_s)
    return f"{_DID[action.kind]} {name}: {figures or 'no figures'} ({took})"
