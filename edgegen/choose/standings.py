"""Where each candidate of a search stands, and why: the rows of a choice."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.choose.search import Search
from edgegen.core.choice import Row, Standing
from edgegen.core.figures import UNKNOWN, Figure, Limit


def rows_of(search: Search) -> tuple[Row, ...]:
    """Return all candidates with their standing, the smallest first."""
    winners = set(search.winners())
    return tuple(_row(search, place, winners) for place in search.places())


def _row(search: Search, place: int, winners: set[int]) -> Row:
    figures = search.figures(place)
    standing, why = _standing(search, place, figures, winners)
    broken = tuple(_broken(search, figures)) if standing == "breaks" else ()
    return Row(
        way=search.problem.candidates[place].way,
        figures=figures,
        standing=standing,
        broken=broken,
        why=why,
    )


def _standing(
    search: Search, place: int, figures: Mapping[str, Figure], winners: set[int]
) -> tuple[Standing, str]:
    failed = search.why_failed(place)
    if failed:
        return "failed", failed
    if place in winners:
        return "winner", ""
    if search.passes(place):
        return "fits", ""
    if _broken(search, figures):
        return "breaks", ""
    if any(
        figures.get(limit.figure, UNKNOWN).value is None
        and not search.may_become_known(place, limit.figure)
        for limit in search.problem.limits
    ):
        return "unknown", "nobody has measured it there"
    if search.best(search.problem.group(search.problem.candidates[place])) is not None:
        return "not needed", ""
    return "not tried", ""


def _broken(search: Search, figures: Mapping[str, Figure]) -> list[Limit]:
    """Return the limits that figures break, the worst first."""
    found = []
    for limit in search.problem.limits:
        figure = figures.get(limit.figure, UNKNOWN)
        settled = search.is_settled(figure, limit)
        if (settled and figure.passes(limit) is False) or not figure.could_pass(limit):
            found.append((_excess(figure, limit, settled=settled), limit))
    return [limit for _, limit in sorted(found, key=lambda item: -item[0])]


def _excess(figure: Figure, limit: Limit, *, settled: bool) -> float:
    """Return by how much a figure breaks a limit: by its worse bound, or surely."""
    at_most = limit.kind.sense == "at most"
    bound = figure.high if at_most == settled else figure.low
    value = figure.value if bound is None else bound
    return 0.0 if value is None else limit.excess(value)
