"""A choice runs to its end, goes on where it was, and writes down what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.choice import Choice
from edgegen.core.codec import load_json
from edgegen.core.errors import (
    ConnectionLostError,
    DeviceBusyError,
    DeviceFullError,
    DeviceUnauthorizedError,
    EdgegenError,
    MissingDependencyError,
    OutOfMemoryError,
    ResourceError,
    RunnerError,
)
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import Limit
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.core.profile import Budget, RuntimeOptions
from edgegen.core.worker import call
from edgegen.devices.profiles import load_profile
from edgegen.packaging.batch import Built
from edgegen.packaging.plan import BuildPlan
from tests.choose.played import Played, go, new_run


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


def winners(choice: Choice) -> list[str]:
    return [row.way.name for row in choice.winners]


def begun(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith("begin")]


def test_the_result_names_the_winner_and_its_package_draws_as_it_was_judged(
    tmp_path: Path,
) -> None:
    log, output = tmp_path / "log", tmp_path / "out"
    with Played(log).standing_in():
        choice = go(new_run(output))
    (winner,) = choice.winners
    assert (winner.way.target, winner.way.recipe, winner.way.steps) == ("openvino", "int8", 4)
    assert winner.package is not None
    assert load_manifest(output / winner.package).generation.steps == 4
    assert winner.evaluation is not None
    assert (output / winner.evaluation).is_file()
    assert winner.measurement is not None
    assert (output / winner.measurement).is_file()
    assert winner.figures["latency"].origin == "measured"
    assert winner.built
    assert winner.measured
    assert load_json(Choice, output / "choice.json") == choice
    assert choice.spent.conversions == 1


@pytest.mark.parametrize("here", [("float32", "bfloat16"), ("float32",)])
def test_quality_is_judged_in_what_the_device_computes_or_the_result_says_so(
    here: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.choose.work._arithmetics_here", lambda target: here)
    options = RuntimeOptions(
        target="openvino", package="openvino", recipe="int8", arithmetic="bfloat16"
    )
    board = replace(load_profile("raspberry-pi-5"), runtimes=(options,), budget=Budget())
    output = tmp_path / "out"
    for _ in range(2):  # the second finds all of it in the cache
        with Played(tmp_path / "log").standing_in():
            choice = go(new_run(output, recipes=("int8-hybrid",), profile=board))
        (winner,) = choice.winners
        assert winner.evaluation is not None
        judged = load_json(Evaluation, output / winner.evaluation).arithmetic
        said = [text for text in choice.warnings if "in bfloat16, as the device does" in text]
        assert (judged, len(said)) == ((None, 1) if len(here) == 1 else ("bfloat16", 0))


def test_a_second_run_does_nothing_again_and_says_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Played(log).standing_in():
        first = go(new_run(tmp_path / "one"))
        done = len(begun(log))
        second = go(new_run(tmp_path / "two"))
        assert len(begun(log)) == done
        assert winners(first) == winners(second)
        assert second.spent.conversions == second.spent.measurements == 0
        assert (tmp_path / "two" / str(second.winners[0].package)).is_dir()
        go(new_run(tmp_path / "three", fresh=True))
        assert len(begun(log)) == 2 * done


def test_a_candidate_that_cannot_be_built_is_a_row_and_is_not_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Played(log, failing=("int8",)).standing_in():
        choice = go(new_run(tmp_path / "out"))
        rows = {row.way.recipe: row for row in choice.rows if row.way.target == "openvino"}
        assert rows["int8"].standing == "failed"
        assert "int8 cannot be converted" in rows["int8"].why
        assert choice.winners
        done = len(begun(log))
        go(new_run(tmp_path / "out"))
        assert len(begun(log)) == done


def test_everything_is_tried_where_all_is_to_be_known(tmp_path: Path) -> None:
    with Played(tmp_path / "log").standing_in():
        everything = go(new_run(tmp_path / "all", exhaustive=True))
        quick = go(new_run(tmp_path / "out"))
    assert everything.spent.conversions == 6
    assert everything.spent.measurements >= 12
    assert winners(everything) == winners(quick)


def test_ctrl_c_leaves_what_is_known(tmp_path: Path) -> None:
    def interrupt() -> EdgegenError | None:
        raise KeyboardInterrupt

    with Played(tmp_path / "log", device_fails=interrupt).standing_in():
        choice = go(new_run(tmp_path / "out"))
    assert choice.interrupted == "Ctrl-C"
    assert load_json(Choice, tmp_path / "out" / "choice.json").interrupted == "Ctrl-C"
    assert choice.spent.conversions == 1
    assert not choice.winners
    with Played(tmp_path / "log").standing_in():
        again = go(new_run(tmp_path / "out"))
    assert again.spent.conversions == 0
    assert again.winners


def test_a_runner_that_fails_is_a_row_and_the_next_candidate_wins(tmp_path: Path) -> None:
    errors: list[EdgegenError] = [RunnerError("the runtime crashed", hint="Try: edgegen doctor")]

    def fails() -> EdgegenError | None:
        return errors.pop() if errors else None

    with Played(tmp_path / "log", device_fails=fails).standing_in():
        choice = go(new_run(tmp_path / "out"))
    (failed,) = [row for row in choice.rows if row.standing == "failed"]
    assert failed.why == "could not be measured: the runtime crashed"
    assert choice.winners


@pytest.mark.parametrize("good", range(3))
def test_a_device_that_is_gone_ends_the_run_with_a_clear_row(tmp_path: Path, good: int) -> None:
    calls = 0

    def fails() -> EdgegenError | None:
        nonlocal calls
        calls += 1
        gone = ConnectionLostError("The connection to board was lost.", hint="Is it on?")
        return gone if calls > good else None

    limits = (Limit(figure="right", value=0.9), Limit(figure="latency", value=0.001))
    with Played(tmp_path / "log", device_fails=fails).standing_in():
        run = new_run(tmp_path / "out", limits=limits)
        choice = go(run)
    assert isinstance(run.gone, EdgegenError)
    assert choice.interrupted is not None
    assert "The connection to board was lost" in choice.interrupted
    (failed,) = [row for row in choice.rows if row.standing == "failed"]
    assert "The connection to board was lost" in failed.why
    kept = [row for row in choice.rows if row.measurement is not None]
    assert len(kept) == good
    assert all((tmp_path / "out" / str(row.measurement)).is_file() for row in kept)


def test_a_device_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    errors: list[EdgegenError] = [ConnectionLostError("The connection was lost.", hint="Wait.")]

    def fails() -> EdgegenError | None:
        return errors.pop() if errors else None

    with Played(tmp_path / "log", device_fails=fails).standing_in():
        choice = go(new_run(tmp_path / "out"))
    assert choice.interrupted is None
    assert choice.winners


NO_VERDICTS = (
    DeviceBusyError("somebody uses it", hint="Wait."),
    DeviceFullError("it is full", hint="Free some space there."),
    DeviceUnauthorizedError("it is locked", hint="Unlock it."),
    ResourceError("the disk is full", hint="Free some space."),
    MissingDependencyError("no runtime", hint="Install it."),
)


@pytest.mark.parametrize(
    "error",
    [
        *NO_VERDICTS[:2],
        *(pytest.param(error, marks=pytest.mark.slow) for error in NO_VERDICTS[2:]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_a_candidate_is_tried_again_and_then_ends_the_run(
    error: EdgegenError, tmp_path: Path
) -> None:
    answers: list[EdgegenError | None] = [error]
    with Played(
        tmp_path / "log", device_fails=lambda: answers.pop() if answers else None
    ).standing_in():
        once = go(new_run(tmp_path / "once"))
    assert once.interrupted is None
    assert [row.way.recipe for row in once.winners] == ["int8"]
    with Played(tmp_path / "log", device_fails=lambda: error).standing_in():
        run = new_run(tmp_path / "twice", fresh=True)
        twice = go(run)
    assert type(run.gone) is type(error)
    assert (run.gone.message, run.gone.hint) == (error.message, error.hint)
    assert not twice.winners
    (failed,) = [row for row in twice.rows if row.standing == "failed"]
    assert error.message in failed.why
    assert error.message in str(twice.interrupted)


def test_a_full_disk_ends_the_run_where_a_package_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(tmp_path / "log")
    monkeypatch.setattr(played, "_build", lambda plan: ResourceError("the disk is full", hint=""))
    with played.standing_in():
        run = new_run(tmp_path / "out")
        choice = go(run)
    assert isinstance(run.gone, ResourceError)
    assert choice.interrupted == "the system refused: the disk is full"
    assert not choice.winners


def test_memory_that_runs_out_is_a_verdict_on_the_candidate(tmp_path: Path) -> None:
    errors: list[EdgegenError] = [OutOfMemoryError("memory ran out", hint="Take a smaller one.")]
    with Played(
        tmp_path / "log", device_fails=lambda: errors.pop() if errors else None
    ).standing_in():
        choice = go(new_run(tmp_path / "out"))
    assert choice.interrupted is None
    (failed,) = [row for row in choice.rows if row.standing == "failed"]
    assert failed.why == "could not be measured: memory ran out"
    assert choice.winners


def test_a_child_that_the_system_kills_is_a_row_and_the_next_candidate_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(tmp_path / "log")

    def build(plan: BuildPlan) -> Built | EdgegenError:
        if plan.candidate.recipe.name != "int8":
            return Played._build(played, plan)
        try:
            call("tests.choose.killed_worker", None, stage="unet", on_event=print)
        except EdgegenError as error:
            return error
        raise AssertionError("the worker lived")

    monkeypatch.setattr(played, "_build", build)
    with played.standing_in():
        run = new_run(tmp_path / "out")
        choice = go(run)
    assert run.gone is None
    assert choice.interrupted is None
    failed = [row for row in choice.rows if row.standing == "failed"]
    assert {row.way.recipe for row in failed} == {"int8"}
    assert all("unet: the worker was ended by SIGKILL" in row.why for row in failed)
    assert all("memory" in row.why for row in failed)
    assert choice.winners


def test_a_fresh_run_replaces_the_evidence_beside_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played, output = Played(tmp_path / "log"), tmp_path / "out"
    year = "2025"

    def measure(*what: Any, **more: Any) -> Measurement:
        found = Played.measure(played, *what, **more)
        started_at = f"{year}-01-01T00:00:00+00:00"
        return replace(found, environment=replace(found.environment, started_at=started_at))

    monkeypatch.setattr(played, "measure", measure)
    with played.standing_in():
        (first,) = go(new_run(output)).winners
        stray = output / str(first.evaluation).replace("evaluation.json", "old.png")
        stray.write_bytes(b"of an earlier run")
        year = "2026"
        (winner,) = go(new_run(output, fresh=True)).winners
    beside = load_json(Measurement, output / str(winner.measurement))
    assert beside.environment.started_at.startswith("2026")
    assert (output / str(winner.evaluation)).is_file()
    assert not stray.exists()
    assert not list(output.rglob(".edgegen-*"))
