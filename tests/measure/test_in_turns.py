"""Two packages run in turns: OLD NEW, NEW OLD, kind by kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.measure.in_turns import measure_in_turns
from edgegen.measure.plan import BenchSettings, plan
from edgegen.measure.planned_run import PlannedRun
from edgegen.measure.session import Session
from edgegen.runner.attach import attach
from tests.tiny_packages import onnx_package


def test_processes_alternate_so_that_a_drift_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = [
        plan(onnx_package(tmp_path / name), BenchSettings(restarts=4, images=8, threads=1))
        for name in ("old", "new")
    ]
    started: list[tuple[str, str]] = []
    really = Session.run

    def run(self: Session, planned: PlannedRun) -> None:
        started.append((self.plan.package.name, planned.kind))
        if planned.kind == "cold":  # enough for a measurement to say what ran where
            really(self, planned)

    monkeypatch.setattr(Session, "run", run)
    with attach("local") as device:
        old, new = measure_in_turns(plans[0], plans[1], device)
    order = ["old", "new", "new", "old", "old", "new", "new", "old"]
    assert started == [
        *[(name, "cold") for name in ("old", "new")],
        *[(name, "steady") for name in order],
        *[(name, "memory") for name in ("old", "new")],
    ]
    assert (old.package.manifest_sha256, new.package.manifest_sha256) == (
        plans[0].identity.manifest_sha256,
        plans[1].identity.manifest_sha256,
    )
