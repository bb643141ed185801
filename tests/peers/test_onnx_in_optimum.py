"""Our ONNX packages in optimum's ONNX Runtime pipelines: every cell of the matrix is measured.

Takes minutes: all families are packaged in both recipes, and everything is drawn twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.target import Compatibility
from edgegen.exporters.targets import load_target
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.pipelines.source import resolve
from edgegen.quality.metrics import psnr_db
from tests.conftest import TinyPipeline
from tests.peers import matrix
from tests.peers.environment import peers_python, pinned

pytestmark = pytest.mark.peers

TARGET = load_target("onnx")
CELLS = [cell for cell in TARGET.compatibility if cell.runtime == matrix.RUNTIME]


@pytest.fixture(scope="module")
def packages(
    tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory
) -> matrix.Packages:
    root = tmp_path_factory.mktemp("packages")

    def get(model: str, recipe: str) -> Path:
        folder = root / f"{model}-{recipe}"
        if not folder.exists():
            source = resolve(str(tiny_pipeline(model)))
            build(plan(source, target="onnx", destination=folder, recipe=recipe), parity=False)
        return folder

    return get


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def measured(packages: matrix.Packages, scratch: Path) -> matrix.Measured:
    return matrix.measure(packages, peers_python(), scratch)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(matrix.key_of(cell)))
def test_a_cell_says_what_was_measured(cell: Compatibility, measured: matrix.Measured) -> None:
    outcomes = measured.cells()[matrix.key_of(cell)]
    assert matrix.result_of(outcomes) == cell.result, "\n" + matrix.describe(outcomes)


@pytest.mark.parametrize(
    "cell", [cell for cell in CELLS if cell.result == "cannot"], ids=lambda cell: cell.scheduler
)
def test_a_cell_that_cannot_quotes_the_error_of_the_peer(
    cell: Compatibility, measured: matrix.Measured
) -> None:
    for outcome in measured.cells()[matrix.key_of(cell)]:
        assert outcome.error is not None
        _, _, message = outcome.error.partition(": ")
        assert message in cell.why


def test_the_peers_are_of_the_versions_that_are_pinned(measured: matrix.Measured) -> None:
    for name, version in measured.versions.items():
        assert version.partition("+")[0] == pinned(name)


def test_another_seed_is_another_image(
    packages: matrix.Packages, measured: matrix.Measured, scratch: Path
) -> None:
    """Without this, a flat or black image on both sides would pass for the same image."""
    drawn = [item for item in measured.outcomes if item.psnr_db is not None]
    seen = set()
    for outcome in drawn:
        attempt = outcome.attempt
        if outcome.recipe != "fp32" or attempt.model in seen:
            continue
        seen.add(attempt.model)
        package = packages(attempt.model, outcome.recipe)
        one, other = (
            matrix.draw(package, attempt, scratch, f"seed-{seed}.png", seed=seed)
            for seed in (matrix.SEED, matrix.SEED + 1)
        )
        assert np.ptp(one) > 64
        assert psnr_db(one, other, peak=255.0) < 35
    assert len(seen) >= 8
