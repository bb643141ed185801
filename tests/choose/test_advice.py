"""Where nothing passes, the nearest misses lead to changes, each with its predicted effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.choose.advice import advice_for, nearest_misses
from edgegen.choose.run import Run
from edgegen.core.choice import Advice
from edgegen.core.figures import Limit
from tests.choose.played import Played, go, new_run


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


def chosen(tmp_path: Path, **limits: float) -> Run:
    with Played(tmp_path / "log").standing_in():
        run = new_run(
            tmp_path / "out", limits=[Limit(figure=k, value=v) for k, v in limits.items()]
        )
        go(run)
    return run


def advised(run: Run) -> dict[str, Advice]:
    return {it.change: it for it in advice_for(run.search, run.jobs.space)}


def one(found: dict[str, Advice], words: str) -> Advice:
    (change,) = [change for change in found if words in change]
    return found[change]


def test_nothing_is_advised_where_something_fits(tmp_path: Path) -> None:
    assert not advised(chosen(tmp_path, right=0.9))


def test_what_is_too_slow_takes_fewer_steps_or_smaller_pictures(tmp_path: Path) -> None:
    run = chosen(tmp_path, right=0.9, latency=0.5)
    found = advised(run)
    fewer = one(found, "fewer steps, 2 in place of 4")
    latency = fewer.predicted["latency"]
    assert latency.origin == "predicted"
    assert latency.value is not None
    assert latency.value < 0.5
    assert fewer.predicted["right"].value == pytest.approx(0.475), "torch drew that at 2 steps"
    assert "latency" in one(found, "a smaller picture, 48×48").predicted
    assert [row.way.steps for row in nearest_misses(run.search)][:1] == [4]


def test_fewer_steps_are_not_advised_where_guidance_in_a_part_of_them_would_be_refused(
    tmp_path: Path,
) -> None:
    run = chosen(tmp_path, right=0.9, latency=0.5)
    run.search.problem = replace(
        run.search.problem,
        candidates=tuple(
            replace(it, way=replace(it.way, guidance_stop=0.5))
            for it in run.search.problem.candidates
        ),
    )
    found = advised(run)
    assert not [change for change in found if "fewer steps" in change]
    assert one(found, "a smaller picture")


def test_what_is_too_slow_in_many_steps_may_keep_features_through_some(tmp_path: Path) -> None:
    run = chosen(tmp_path, right=0.9, latency=0.5)
    assert not [change for change in advised(run) if "features kept" in change], "in 4 steps"
    run.search.problem = replace(
        run.search.problem,
        candidates=tuple(
            replace(it, way=replace(it.way, steps=10 * it.way.steps))
            for it in run.search.problem.candidates
        ),
    )
    kept = one(advised(run), "features kept through 3 steps")
    assert kept.way is not None
    assert kept.way.cache_interval == 3
    (near, *_) = nearest_misses(run.search)
    before, latency = near.figures["latency"].value, kept.predicted["latency"]
    assert before is not None
    assert (latency.low, latency.high) == (before / 3, before)


def test_what_is_too_large_takes_fewer_bits_on_the_components_named(tmp_path: Path) -> None:
    found = advised(chosen(tmp_path, size=1e5))
    fewer = one(found, "fewer bits on unet")
    assert fewer.predicted["size"].value is not None


def test_what_draws_too_badly_takes_more_steps_or_more_bits(tmp_path: Path) -> None:
    found = advised(chosen(tmp_path, psnr=35.0))
    assert one(found, "more steps, 4").way is not None
    assert one(found, "more bits").predicted["size"].value is not None


def test_an_absent_figure_is_to_be_measured(tmp_path: Path) -> None:
    run = chosen(tmp_path, right=0.9)
    limits = (Limit(figure="slowdown", value=1.2),)
    run.search.problem = type(run.search.problem)(
        candidates=run.search.problem.candidates, limits=limits
    )
    fresh = type(run.search)(run.search.problem)
    found = {it.change for it in advice_for(fresh, run.jobs.space)}
    assert any("attach the device" in change for change in found)
