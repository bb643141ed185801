"""The benchmark that replays budgets counts what it says, over a table of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.choose_replay import LIMITED, lines, replay, winners_of_all
from benchmarks.choose_table import RecordedCandidate, RecordedModel, RecordedTable
from edgegen.core.codec import dump_json, load_json
from edgegen.core.figures import Limit
from tests.choose.tables import random_table


def recorded() -> RecordedTable:
    table = random_table(3, models=2, packages=4)
    return RecordedTable(
        machine="a made-up machine",
        pictures=16,
        candidates=tuple(
            RecordedCandidate(
                way=candidate.way,
                package=candidate.package,
                known=candidate.known,
                figures=figures,
                step_s=step_s,
            )
            for candidate, figures, step_s in zip(
                table.candidates, table.figures, table.steps, strict=True
            )
        ),
        models=tuple(
            RecordedModel(drawn=drawn, figures=figures)
            for drawn, figures in table.float_models.items()
        ),
    )


def test_replayed_budgets_give_the_winner_of_trying_everything(tmp_path: Path) -> None:
    place = tmp_path / "table.json"
    place.write_text(dump_json(recorded()), encoding="utf-8")
    result = replay(load_json(RecordedTable, place), budgets=12, seed=2)
    assert result.same == 12
    assert sum(it.in_the_middle for it in result.budgets) >= 6
    assert 0 < result.conversions < 1
    assert 0 <= result.measurements < 1
    assert any("conversions" in line for line in lines(result))
    assert {limit.figure for it in result.budgets for limit in it.limits} <= set(LIMITED)


def test_the_winner_of_the_whole_table_is_the_smallest_that_meets_every_limit() -> None:
    table = recorded()
    limits = (Limit(figure="right", value=0.01), Limit(figure="memory", value=1e12))
    sizes = [
        row.figures["size"].value
        for row in table.candidates
        if not row.failed
        and {"right", "memory"} <= row.figures.keys()
        and (row.figures["right"].low or 0) >= 0.01
    ]
    (winner,) = winners_of_all(table, limits)
    assert winner.figures["size"].value == min(size for size in sizes if size is not None)
    assert winners_of_all(table, (Limit(figure="size", value=1.0),)) == ()
