"""Every form of weights, for every target: a package draws what diffusers draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import TinyPipeline
from tests.forms.drawn import FARTHEST_PLAIN_DB, LEAST_PSNR_DB, TARGETS, draw
from tests.forms.page import PAGE, page, rows_on
from tests.forms.rows import ROWS, Row


@pytest.mark.slow
# diffusers says so where it corrects an old configuration; torch 2.13 under numpy 2.4
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_packages_of_every_target_draw_what_diffusers_draws(
    row: Row, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    drawn = draw(row, tiny_pipeline(row.family), tmp_path)
    assert drawn.psnr_db.keys() == {*TARGETS}
    assert all(it >= LEAST_PSNR_DB for it in drawn.psnr_db.values()), drawn
    assert drawn.plain_db is None or drawn.plain_db < FARTHEST_PLAIN_DB


def test_the_page_is_that_of_its_cells_and_none_is_below_the_limit() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = rows_on(text)
    assert page(rows) == text, "run python -m tests.forms.page"
    assert rows
    cells = [cell for row in rows.values() for cell in row.split(" | ")[2:-1]]
    assert len(cells) == len(rows) * len(TARGETS)
    assert all(it == "equal" or float(it.removesuffix(" dB")) >= LEAST_PSNR_DB for it in cells)
