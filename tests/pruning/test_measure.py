"""What pruning measures, and the sensitivity that is measured on the same pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.package import StageCost
from edgegen.core.progress import SilentProgress
from edgegen.core.worker import Finished
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.pruning import measure
from edgegen.pruning.child import Job, _run
from edgegen.pruning.measure import measure_scores
from edgegen.sensitivity.run import measure_sensitivity, plan_cases, recall
from tests.conftest import TinyPipeline

COST = StageCost(stage="pruning", wall_s=2.0, cpu_s=3.0, peak_memory_bytes=10**9)


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Run jobs in this process, and return them; nothing is remembered at first."""
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    done: list[Job] = []

    def here(_worker: str, job: Job, **_options: object) -> Finished:
        done.append(job)
        return Finished(done=_run(job, lambda *_, **__: None), cost=COST)

    monkeypatch.setattr(measure, "call", here)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("family", ["ddpm", "sd15", "sd-inpaint", "pixart"])
def test_sensitivity_that_is_measured_with_scores_is_that_which_is_measured_alone(
    family: str, tiny_pipeline: TinyPipeline
) -> None:
    folder = tiny_pipeline(family)
    spec, source = read_pipeline(resolve(str(folder))), folder_source(folder)
    silent = SilentProgress()
    both = measure_scores(spec, source, weights_sha256="a", progress=silent, with_sensitivity=True)
    together = recall(spec, source, weights_sha256="a")
    assert together is not None
    assert together.cost == COST
    alone = measure_sensitivity(spec, source, weights_sha256="a", progress=silent, fresh=True)
    assert together.cases == alone.cases
    for name, layers in alone.components.items():
        assert list(together.components[name]) == list(layers)
        for path, layer in layers.items():
            found = together.components[name][path]
            assert found.shapes == layer.shapes
            assert found.losses == pytest.approx(layer.losses, rel=1e-5, abs=1e-18), path
    apart = measure_scores(spec, source, weights_sha256="b", progress=silent)
    assert recall(spec, source, weights_sha256="b") is None
    assert apart.blocks == pytest.approx(both.blocks, rel=1e-5)
    for path, units in apart.units.items():
        assert units == pytest.approx(both.units[path], rel=1e-5, abs=1e-18)


@pytest.mark.slow
def test_sensitivity_is_measured_with_scores_where_it_is_wanted_and_not_known(
    jobs: list[Job], tiny_pipeline: TinyPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_pipeline("ddpm")
    spec, source = read_pipeline(resolve(str(folder))), folder_source(folder)
    one = plan_cases(spec, folder)[:1]
    monkeypatch.setattr(measure, "PICTURES", 2)
    monkeypatch.setattr(measure, "plan_cases", lambda *_: one)
    monkeypatch.setattr("edgegen.sensitivity.run.plan_cases", lambda *_: one)
    silent = SilentProgress()
    for weights, wanted in (("a", False), ("b", True), ("b", True)):
        measure_scores(
            spec, source, weights_sha256=weights, progress=silent, with_sensitivity=wanted
        )
    assert [job.sensitivity_cases for job in jobs] == [0, 1]
    assert recall(spec, source, weights_sha256="a") is None
    assert recall(spec, source, weights_sha256="b") is not None
    measured = replace(spec, source="elsewhere")  # scores are not known, sensitivity neither
    measure_scores(measured, source, weights_sha256="b", progress=silent, with_sensitivity=True)
    assert [job.sensitivity_cases for job in jobs] == [0, 1, 1]
