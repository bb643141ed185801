"""Replays random budgets over a recorded table: the winner, and what it took to find it.

    python -m benchmarks.choose_replay [TABLE] [--budgets 200] [--seed 1] [--json FILE]

For each budget `choose` searches as it does, with the table in place of toolkits and device.
Its winner is held against that of a plain filter and minimum over the whole table; conversions and
measurements are counted against all of them. Every second budget is drawn again until its winner
is neither the smallest nor the largest.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.choose_table import TABLE, RecordedCandidate, RecordedTable
from edgegen.choose.search import Action, Outcome, Search
from edgegen.core.choice import Way
from edgegen.core.codec import dump_json, load_json
from edgegen.core.figures import FIGURES, Limit
from edgegen.core.files import write_atomic

LIMITED = ("size", "latency", "memory", "right", "psnr")
MARGIN = 0.15
"""A budget that is drawn around a candidate leaves it at most this share of room."""

MOST_DRAWS = 1000

AROUND_SHARE = 0.75
"""So many of the budgets are drawn around a candidate, which meets them; the others are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A budget, what won, and what was done; `in_the_middle` is whether the winner is
    neither the smallest nor the largest."""

    limits: tuple[Limit, ...]
    winner: str | None
    expected: str | None
    packages_tried: int
    candidates_measured: int
    measuring_runs: int
    looks: int
    evaluated: int
    probes: int
    in_the_middle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """All budgets, and of how many packages and candidates the table is."""

    machine: str
    packages: int
    candidates: int
    seed: int
    budgets: tuple[Replayed, ...]

    @property
    def same(self) -> int:
        """Return how often the winner was that of trying everything."""
        return sum(it.winner == it.expected for it in self.budgets)

    @property
    def conversions(self) -> float:
        """Return the share of conversions that were done, over all budgets."""
        return sum(it.packages_tried for it in self.budgets) / (self.packages * len(self.budgets))

    @property
    def measurements(self) -> float:
        """Return the share of candidates that were measured, at length or by a look."""
        return sum(it.candidates_measured for it in self.budgets) / (
            self.candidates * len(self.budgets)
        )


def replay(table: RecordedTable, *, budgets: int, seed: int) -> Replay:
    """Choose under random budgets."""
    dice = random.Random(seed)
    return Replay(
        machine=table.machine,
        packages=len({it.package for it in table.candidates}),
        candidates=len(table.candidates),
        seed=seed,
        budgets=tuple(
            _in_between(table, dice) if number % 2 else _replay(table, _budget(table, dice))
            for number in range(budgets)
        ),
    )


def _in_between(table: RecordedTable, dice: random.Random) -> Replayed:
    """Draw budgets until the winner is neither the smallest nor the largest; replay that one."""
    for _ in range(MOST_DRAWS):
        limits = _budget(table, dice)
        if _in_the_middle(table, limits):
            return _replay(table, limits)
    raise SystemExit(f"No budget of {MOST_DRAWS} has a winner between the extremes: seed another.")


def run_through(
    search: Search, do: Callable[[Action], Outcome], started: Callable[[Action], None]
) -> None:
    """Do one action after the other until nothing is left to do; `started` hears of each first."""
    while actions := search.next_actions(1):
        (action,) = actions
        search.start(action)
        started(action)
        search.learn(action, do(action))


def _replay(table: RecordedTable, limits: tuple[Limit, ...]) -> Replayed:
    search = Search(table.problem(limits))
    done: list[Action] = []
    run_through(search, table.outcome, done.append)
    measured = [it for it in done if it.kind == "measure"]
    return Replayed(
        limits=limits,
        winner=_names(search.problem.candidates[place].way for place in search.winners()),
        expected=_names(it.way for it in winners_of_all(table, limits)),
        packages_tried=len({it.package for it in done if it.kind == "build"}),
        candidates_measured=len({it.place for it in measured}),
        measuring_runs=len(measured),
        looks=sum(it.effort == "look" for it in measured),
        evaluated=sum(it.kind == "evaluate" for it in done),
        probes=sum(it.kind == "probe" for it in done),
        in_the_middle=_in_the_middle(table, limits),
    )


def _names(ways: Iterable[Way]) -> str | None:
    """Return the names of the winners, one a model where models cannot be compared."""
    return "; ".join(sorted(way.name for way in ways)) or None


def winners_of_all(
    table: RecordedTable, limits: tuple[Limit, ...]
) -> tuple[RecordedCandidate, ...]:
    """Return what wins where everything was tried: a filter and a minimum over the table.

    It uses nothing of the search, so that an error there shows. The rules are those of
    docs/guides/choosing.md; every candidate of the table draws at one size.
    """
    guarded = any(FIGURES[limit.figure].of_quality for limit in limits)
    groups: dict[str, list[RecordedCandidate]] = {}
    for row in table.candidates:
        group = _group(row, limits)
        if not row.failed and all(_meets(row, limit) for limit in limits):
            groups.setdefault(group, []).append(row)

    def rank(row: RecordedCandidate) -> tuple[float, int, str]:
        steps = row.way.steps if guarded else -row.way.steps
        return _size(row), steps, row.way.name

    return tuple(min(rows, key=rank) for rows in groups.values())


def _group(row: RecordedCandidate, limits: tuple[Limit, ...]) -> str:
    """Return with which candidates one competes: models do under a figure that they share."""
    shared = any(
        FIGURES[limit.figure].of_quality and not FIGURES[limit.figure].paired for limit in limits
    )
    return "" if shared else row.way.model


def _meets(row: RecordedCandidate, limit: Limit) -> bool:
    if limit.figure not in row.figures:
        return False
    bound = _held(row, limit.figure)
    if FIGURES[limit.figure].sense == "at most":
        return bound <= limit.value
    return bound >= limit.value


def _size(row: RecordedCandidate) -> float:
    value = row.figures["size"].value
    assert value is not None
    return value


def _in_the_middle(table: RecordedTable, limits: tuple[Limit, ...]) -> bool:
    """Return whether there is a winner, and none is the smallest or the largest of its group."""
    winners = winners_of_all(table, limits)
    for winner in winners:
        group = _group(winner, limits)
        sizes = [_size(it) for it in table.candidates if _group(it, limits) == group]
        if _size(winner) in (min(sizes), max(sizes)):
            return False
    return bool(winners)


def _budget(table: RecordedTable, dice: random.Random) -> tuple[Limit, ...]:
    """Return two to four limits: around a candidate, or each anywhere in the table."""
    whole = [it for it in table.candidates if all(name in it.figures for name in LIMITED)]
    names = dice.sample(LIMITED, dice.randint(2, 4))
    around = dice.choice(whole) if dice.random() < AROUND_SHARE else None
    limits = []
    for name in names:
        row = around or dice.choice(whole)
        value = _held(row, name)
        room = dice.uniform(0, MARGIN) if around is not None else dice.uniform(-MARGIN, MARGIN)
        at_most = FIGURES[name].sense == "at most"
        value = value * (1 + room) if at_most else value * (1 - room)
        if FIGURES[name].unit == "share":
            value = min(value, 1.0)
        limits.append(Limit(figure=name, value=max(value, 1e-6)))
    return tuple(limits)


def _held(row: RecordedCandidate, name: str) -> float:
    """Return what a limit is held against: the worse bound."""
    figure = row.figures[name]
    bound = figure.high if FIGURES[name].sense == "at most" else figure.low
    value = figure.value if bound is None else bound
    assert value is not None
    return value


def lines(result: Replay) -> Iterable[str]:
    """Yield what the benchmark prints."""
    count = len(result.budgets)
    feasible = [it for it in result.budgets if it.expected is not None]
    middle = sum(it.in_the_middle for it in feasible)
    yield f"{count} budgets over {result.candidates} candidates, {result.packages} packages"
    yield f"recorded on {result.machine}"
    yield f"feasible: {len(feasible)}; with a winner neither smallest nor largest: {middle}"
    yield f"the same winner as trying everything: {result.same} of {count}"
    yield f"conversions: {100 * result.conversions:.1f} % of all"
    yield f"measurements: {100 * result.measurements:.1f} % of all"
    runs = sum(it.measuring_runs for it in result.budgets) / (result.candidates * count)
    yield f"measuring runs, a look and a whole one each counted: {100 * runs:.1f} % of all"
    for title, some in (("feasible", feasible), ("infeasible", _infeasible(result))):
        if some:
            built = sum(it.packages_tried for it in some) / (result.packages * len(some))
            measured = sum(it.candidates_measured for it in some) / (result.candidates * len(some))
            yield f"  {title}: {100 * built:.1f} % converted, {100 * measured:.1f} % measured"
    worst = max(it.packages_tried for it in result.budgets)
    yield f"the most conversions for a budget: {worst} of {result.packages}"


def _infeasible(result: Replay) -> Sequence[Replayed]:
    return [it for it in result.budgets if it.expected is None]


def main() -> None:
    """Replay, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", nargs="?", type=Path, default=TABLE)
    parser.add_argument("--budgets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table = load_json(RecordedTable, given.table)
    result = replay(table, budgets=given.budgets, seed=given.seed)
    for line in lines(result):
        print(line)
    if given.json is not None:
        write_atomic(given.json, dump_json(result))
    if result.same < len(result.budgets):
        raise SystemExit("another winner than trying everything")


if __name__ == "__main__":
    main()
