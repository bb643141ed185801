"""Devices that vanish while they are measured: a clear row, and what was measured is kept."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.choice import Choice
from edgegen.core.codec import load_json
from edgegen.core.figures import Limit
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.measure.plan import BenchPlan
from edgegen.measure.session import measure
from edgegen.packaging.plan import BuildPlan
from tests.choose.played import Played, go, new_run, write_manifest
from tests.devices.stand_ins import CutTransport, OtherMachine, device
from tests.tiny_packages import onnx_package

LIMITS = (Limit(figure="right", value=0.9), Limit(figure="latency", value=1e-6))
"""The second cannot be met, so every candidate whose pictures are right is measured."""

SURELY = 50_000
"""Bytes that every measurement sends: the agent itself is larger."""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


class Vanishing(Played):
    """Packages that really run; the first measurement is played, the next are on a real device.

    Its connection is cut after so many bytes; without a number it holds.
    """

    def __init__(self, folder: Path, after_bytes: int | None) -> None:
        super().__init__(folder / "log")
        self.folder = folder
        self.after_bytes = after_bytes
        self.measured = 0

    def write_package(self, plan: BuildPlan, staging: Path) -> None:
        """Write a package of tiny graphs, which differ by their padding."""
        made = onnx_package(self.folder / f"made-{staging.name}")
        shutil.copytree(made, staging, dirs_exist_ok=True)
        manifest = load_manifest(made)
        write_manifest(staging, replace(manifest, recipe=plan.candidate.recipe))

    def attach(self, address: str, root: str | None) -> Any:
        """Return the device, which is this machine behind a connection."""
        if self.measured == 0:
            return super().attach(address, root)
        home = self.folder / "device"
        home.mkdir(exist_ok=True)
        transport = OtherMachine(home)
        if self.after_bytes is not None:
            transport = CutTransport(home, self.after_bytes)
        found = device(transport)
        found.return_s = 0.0
        return found

    def measure(self, plan: BenchPlan, *more: Any, **settings: Any) -> Measurement:
        """Measure for real, but for the first time."""
        self.measured += 1
        if self.measured == 1:
            return super().measure(plan, *more, **settings)
        return measure(plan, *more, **settings)


def phases(count: int) -> Sequence[int]:
    """Return after how many bytes each device is lost: from the greeting to the last job."""
    dice = random.Random(5)
    return [int(10 ** dice.uniform(2, 6.3)) for _ in range(count)]


@pytest.mark.parametrize(
    "after_bytes", [40_000, *(pytest.param(it, marks=pytest.mark.slow) for it in phases(20))]
)
def test_a_device_that_vanishes_leaves_a_row_that_says_so(after_bytes: int, tmp_path: Path) -> None:
    lost = Vanishing(tmp_path, after_bytes)
    with lost.standing_in():
        run = new_run(tmp_path / "out", limits=LIMITS)
        choice = go(run)
    written = load_json(Choice, tmp_path / "out" / "choice.json")
    assert written == choice
    kept = [row for row in choice.rows if row.measurement is not None]
    assert len(kept) >= 1, "what was measured before is lost"
    assert all((tmp_path / "out" / str(row.measurement)).is_file() for row in kept)
    if run.gone is None and after_bytes > SURELY:  # the cut came after all that was to be sent
        assert choice.interrupted is None
        return
    assert run.gone is not None
    assert choice.interrupted is not None
    (failed,) = [row for row in choice.rows if row.standing == "failed"]
    assert "could not be measured" in failed.why
    assert "ssh://stand-in" in failed.why
    assert choice.spent.conversions >= 2
