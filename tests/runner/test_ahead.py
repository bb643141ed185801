"""A runner that is started before its job: it is taken, or ended, and never left behind."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from edgegen.core.errors import RunnerError
from edgegen.core.head_start import head_start
from edgegen.runner import session
from edgegen.runner.ahead import RunnerAhead
from edgegen.runner.guess import guess
from edgegen.runner.job import Backend, DescribeJob
from edgegen.runner.program import AHEAD, OWN
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


def started(folder: Path, wanted: str | None = None) -> RunnerAhead:
    made = head_start(*OWN, AHEAD, str(folder), *(() if wanted is None else (wanted,)))
    assert made is not None
    return RunnerAhead(made, folder, wanted)


def test_it_is_taken_by_a_job_of_its_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "Child", None)  # no other is started
    with closing(started(package(tmp_path, {"target": "onnx"}))) as ahead:
        assert ahead.runtime == "onnxruntime"
        events = [
            type(event).__name__
            for event in RunnerSession(ahead=ahead).events(describe("onnxruntime"))
        ]
    assert events[0] == "Hello"
    assert events[-1] == "Done"
    assert ahead.take() is None


def test_a_job_of_another_runtime_starts_its_own(tmp_path: Path) -> None:
    with closing(started(package(tmp_path, {"target": "openvino"}))) as ahead:
        events = list(RunnerSession(ahead=ahead).events(describe("onnxruntime")))
        assert isinstance(events[-1], Done)
        waiting = ahead.take()
        assert waiting is not None
        assert waiting.returncode is None
        waiting.close()


def test_it_ends_with_its_context_where_no_job_came(tmp_path: Path) -> None:
    with closing(started(package(tmp_path, {"target": "onnx"}))) as ahead:
        child = ahead.take()
        assert child is not None
        ahead._child = child
    assert child.returncode is not None
    assert not is_alive(child.pid)


def test_its_log_is_told_where_it_dies(tmp_path: Path) -> None:
    made = head_start("-c", "import sys; sys.stderr.write('the last words')")
    assert made is not None
    ahead = RunnerAhead(made, package(tmp_path, {"target": "onnx"}), None)
    with closing(ahead), pytest.raises(RunnerError) as died:
        list(RunnerSession(ahead=ahead).events(describe("onnxruntime")))
    assert "the last words" in died.value.hint


def test_a_guess_is_of_the_runtime_and_of_what_it_draws(tmp_path: Path) -> None:
    facts = {"family": "pixart", "scheduler": {"class_name": "DDIMScheduler"}}
    found = guess(package(tmp_path, {"target": "onnx", **facts}), None)
    assert found == ("onnxruntime", "pixart", "DDIMScheduler")
    assert guess(tmp_path, "onnxruntime") == found


@pytest.mark.parametrize(
    "manifest", [{}, [], {"target": 3}, {"target": "stone"}, {"target": ["onnx"]}], ids=str
)
def test_what_is_no_package_is_no_guess(manifest: object, tmp_path: Path) -> None:
    assert guess(package(tmp_path, manifest), None) is None


def test_a_missing_manifest_a_pipe_and_a_link_out_are_no_guess(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "edgegen.json")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere.json").write_text('{"target": "onnx"}')
    (tmp_path / "out" / "edgegen.json").symlink_to(tmp_path / "elsewhere.json")
    for folder in (tmp_path / "missing", tmp_path, tmp_path / "out"):
        assert guess(folder, None) is None


def test_a_runtime_that_the_target_lacks_is_no_guess(tmp_path: Path) -> None:
    assert guess(package(tmp_path, {"target": "onnx"}), "openvino") is None


def test_names_of_nothing_and_a_package_that_is_none_take_a_job_all_the_same(
    tmp_path: Path,
) -> None:
    facts = {"family": "os", "scheduler": {"class_name": "../x"}}
    for manifest in ({"target": "onnx", **facts}, {}):
        made = started(package(tmp_path, manifest))
        child = made.take()
        assert child is not None
        with child:
            child.send('{"command": "describe", "backend": {"name": "onnxruntime"}}')
            assert b'"done"' in list(child.lines(silence_s=60))[-1].encode()
