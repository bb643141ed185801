"""A runner that is started before its job: it is taken, or ended, and never left behind."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from edgegen.runner import session
from edgegen.runner.ahead import RunnerAhead, runner_ahead
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.protocol import Done
from edgegen.runner.session import RunnerSession


def package(folder: Path, manifest: object) -> Path:
    (folder / "edgegen.json").write_text(json.dumps(manifest))
    return folder


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def describe(runtime: str) -> DescribeJob:
    return DescribeJob(backend=Backend(name=runtime))


def test_it_is_taken_by_a_job_of_its_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Child", None)  # no other is started
    with runner_ahead(package(tmp_path, {"target": "onnx"}), None) as ahead:
        assert ahead is not None
        assert ahead.runtime == "onnxruntime"
        events = [
            type(event).__name__
            for event in RunnerSession(ahead=ahead).events(describe("onnxruntime"))
        ]
    assert events[0] == "Hello"
    assert events[-1] == "Done"
    assert ahead.take() is None


def test_a_job_of_another_runtime_starts_its_own() -> None:
    with closing(RunnerAhead("openvino")) as ahead:
        events = list(RunnerSession(ahead=ahead).events(describe("onnxruntime")))
        assert isinstance(events[-1], Done)
        waiting = ahead.take()
        assert waiting is not None
        assert waiting.returncode is None
        waiting.close()


def test_it_ends_with_its_context_where_no_job_came() -> None:
    with closing(RunnerAhead("onnxruntime")) as ahead:
        child = ahead.take()
        assert child is not None
        ahead._child = child
    assert child.returncode is not None
    assert not is_alive(child.pid)


@pytest.mark.parametrize(
    "manifest", [{}, [], {"target": 3}, {"target": "stone"}, {"target": ["onnx"]}], ids=str
)
def test_what_is_no_package_starts_nothing(manifest: object, tmp_path: Path) -> None:
    with runner_ahead(package(tmp_path, manifest), None) as ahead:
        assert ahead is None


def test_a_missing_manifest_a_pipe_and_a_link_out_start_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "edgegen.json")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere.json").write_text('{"target": "onnx"}')
    (tmp_path / "out" / "edgegen.json").symlink_to(tmp_path / "elsewhere.json")
    for folder in (tmp_path / "missing", tmp_path, tmp_path / "out"):
        with runner_ahead(folder, None) as ahead:
            assert ahead is None


def test_a_runtime_that_the_target_lacks_starts_nothing(tmp_path: Path) -> None:
    with runner_ahead(package(tmp_path, {"target": "onnx"}), "openvino") as ahead:
        assert ahead is None
