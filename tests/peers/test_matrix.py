"""What the matrix of compatibility says of itself; it needs no peer."""

from __future__ import annotations

import pytest

from edgegen.core.targets import load_target
from edgegen.families import held_families
from tests.peers import matrix

EVERY_PEER = pytest.mark.parametrize("peer", matrix.PEERS, ids=lambda peer: peer.runtime)
ATTEMPT = next(matrix.onnx_attempts())


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


@EVERY_PEER
def test_every_attempt_has_its_cell_and_every_cell_its_attempt(peer: matrix.Peer) -> None:
    tried = {(item.loader, item.family, item.scheduler) for item in peer.attempts()}
    keys = [matrix.key_of(cell) for cell in matrix.cells_of(peer)]
    assert sorted(keys) == sorted(tried)


@EVERY_PEER
def test_every_family_of_the_target_is_tried_but_those_that_say_why_not(peer: matrix.Peer) -> None:
    families = set(held_families(load_target(peer.target)))
    assert {attempt.family for attempt in peer.attempts()} == families - matrix.NOT_TRIED.keys()


@EVERY_PEER
def test_cells_are_of_the_version_that_the_constraints_pin(peer: matrix.Peer) -> None:
    versions = {cell.runtime_version for cell in matrix.cells_of(peer)}
    assert versions == {peer.environment.pinned(peer.runtime)}


@EVERY_PEER
def test_every_version_of_the_peers_environment_is_pinned(peer: matrix.Peer) -> None:
    lines = peer.environment.constraints.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in rows)
    with pytest.raises(LookupError, match="does not pin"):
        peer.environment.pinned("tensorflow")
