"""Our packages in optimum's pipelines of ONNX Runtime and OpenVINO: every cell is measured.

Takes minutes: all families are packaged in each recipe, and everything is drawn twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.core.target import Compatibility
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from tests.conftest import TinyPipeline
from tests.peers import matrix

pytestmark = pytest.mark.peers

CELLS = [(peer, cell) for peer in matrix.PEERS for cell in matrix.cells_of(peer)]
REFUSED = [(peer, cell) for peer, cell in CELLS if cell.result == "cannot"]
EVERY_PEER = pytest.mark.parametrize("peer", matrix.PEERS, ids=lambda peer: peer.runtime)


def named(value: matrix.Peer | Compatibility) -> str:
    return value.runtime if isinstance(value, matrix.Peer) else "-".join(matrix.key_of(value))


class Bench:
    """Measures each peer once."""

    def __init__(self, tiny_pipeline: TinyPipeline, root: Path) -> None:
        self._tiny_pipeline = tiny_pipeline
        self._root = root
        self._measured: dict[str, matrix.Measured] = {}

    def packages(self, peer: matrix.Peer) -> matrix.Packages:
        """Return a function that builds a tiny model's package for a peer's target, once."""

        def get(model: str, recipe: str) -> Path:
            folder = self._root / f"{peer.target}-{model}-{recipe}"
            if not folder.exists():
                source = resolve(str(self._tiny_pipeline(model)))
                planned = plan(source, target=peer.target, destination=folder, recipe=recipe)
                build(planned, parity=False)
            return folder

        return get

    def scratch(self, peer: matrix.Peer) -> Path:
        folder = self._root / f"images-{peer.runtime}"
        folder.mkdir(exist_ok=True)
        return folder

    def measured(self, peer: matrix.Peer) -> matrix.Measured:
        if peer.runtime not in self._measured:
            found = matrix.measure(peer, self.packages(peer), self.scratch(peer))
            self._measured[peer.runtime] = found
        return self._measured[peer.runtime]


@pytest.fixture(scope="module")
def bench(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tiny_pipeline, tmp_path_factory.mktemp("peers"))


@pytest.mark.parametrize(("peer", "cell"), CELLS, ids=named)
def test_a_cell_says_what_was_measured(
    peer: matrix.Peer, cell: Compatibility, bench: Bench
) -> None:
    outcomes = bench.measured(peer).cells()[matrix.key_of(cell)]
    assert matrix.result_of(outcomes) == cell.result, "\n" + matrix.describe(outcomes)


@pytest.mark.parametrize(("peer", "cell"), REFUSED, ids=named)
def test_a_cell_that_cannot_quotes_the_error_of_the_peer(
    peer: matrix.Peer, cell: Compatibility, bench: Bench
) -> None:
    for outcome in bench.measured(peer).cells()[matrix.key_of(cell)]:
        assert outcome.error is not None
        _, _, message = outcome.error.partition(": ")
        assert message in cell.why


@EVERY_PEER
def test_the_peers_are_of_the_versions_that_are_pinned(peer: matrix.Peer, bench: Bench) -> None:
    for name, version in bench.measured(peer).versions.items():
        assert version.partition("+")[0].startswith(peer.environment.pinned(name))


@EVERY_PEER
def test_another_seed_is_another_image(peer: matrix.Peer, bench: Bench) -> None:
    """Without this, a flat or black image on both sides would pass for the same image."""
    drawn = [item for item in bench.measured(peer).outcomes if item.psnr_db is not None]
    seen = set()
    for outcome in drawn:
        attempt = outcome.attempt
        if outcome.recipe != "fp32" or attempt.model in seen:
            continue
        seen.add(attempt.model)
        package = bench.packages(peer)(attempt.model, outcome.recipe)
        one, other = (
            matrix.draw(peer, package, attempt, bench.scratch(peer), f"{seed}.png", seed=seed)
            for seed in (matrix.SEED, matrix.SEED + 1)
        )
        assert np.ptp(one) > 64
        assert psnr_db(one, other, peak=255.0) < 35
    assert len(seen) >= 7
