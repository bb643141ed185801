"""The benchmark that replays budgets counts what it says, over a table of its own."""

from __future__ import annotations

from pathlib import Path

from benchmarks.choose_replay import LIMITED, lines, replay
from benchmarks.choose_table import RecordedCandidate, RecordedModel, RecordedTable
from edgegen.core.codec import dump_json, load_json
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
