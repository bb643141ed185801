"""What the matrix of compatibility says of itself; it needs no peer."""

from __future__ import annotations

import pytest

from edgegen.exporters.targets import load_target
from tests.peers import matrix
from tests.peers.environment import CONSTRAINTS, pinned

TARGET = load_target("onnx")
CELLS = [cell for cell in TARGET.compatibility if cell.runtime == matrix.RUNTIME]
ATTEMPT = next(matrix.attempts())


def outcome(psnr_db: float | None) -> matrix.Outcome:
    return matrix.Outcome(
        attempt=ATTEMPT,
        recipe="fp32",
        pipeline="ORTStableDiffusionPipeline",
        error="ValueError: no" if psnr_db is None else None,
        psnr_db=psnr_db,
    )


@pytest.mark.parametrize(
    ("figures", "result"),
    [
        ((float("inf"), 50.0), "same-image"),
        ((float("inf"), 49.9), "loads"),
        ((80.0, 0.0), "loads"),
        ((80.0, float("nan")), "loads"),
        ((80.0, None), "cannot"),
        ((0.0, None), "cannot"),
    ],
)
def test_a_cell_is_as_good_as_its_worst_attempt(
    figures: tuple[float | None, ...], result: str
) -> None:
    assert matrix.result_of([outcome(figure) for figure in figures]) == result


def test_every_attempt_has_its_cell_and_every_cell_its_attempt() -> None:
    tried = {(item.loader, item.family, item.scheduler) for item in matrix.attempts()}
    keys = [matrix.key_of(cell) for cell in CELLS]
    assert sorted(keys) == sorted(tried)


def test_every_family_of_the_target_is_tried() -> None:
    assert {attempt.family for attempt in matrix.attempts()} == set(TARGET.families)


def test_cells_are_of_the_version_that_the_constraints_pin() -> None:
    assert {cell.runtime_version for cell in CELLS} == {pinned(matrix.RUNTIME)}


def test_every_version_of_the_peers_environment_is_pinned() -> None:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in rows)
    with pytest.raises(LookupError, match="does not pin"):
        pinned("tensorflow")
