"""A worker's crash, kill or chatter becomes an error; its own errors cross the processes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgegen.core import worker
from edgegen.core.errors import ConfigError, ExportError, ResourceError, SourceError
from edgegen.core.memory import PeakSampler
from edgegen.core.process import Child
from edgegen.core.worker import Event, Worker, call

_SERVING = """
import sys
from dataclasses import dataclass
from edgegen.core.errors import SourceError
from edgegen.core.worker import serve

@dataclass(frozen=True)
class Job:
    number: int

def work(job, emit):
    print("a library prints")
    emit("half", number=job.number / 2)
    {body}
    return {{"double": job.number * 2}}

if __name__ == "__main__":
    sys.exit(serve(Job, work, extra="onnx"))
"""


@dataclass(frozen=True)
class Job:
    """What the workers of these tests get."""

    number: int


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a module that workers find as `played`."""
    root = Path(worker.__file__).parents[2]
    path = os.pathsep.join((str(tmp_path), str(root)))
    monkeypatch.setattr(worker, "_ENVIRONMENT", {**worker._ENVIRONMENT})
    real = worker.Child

    class Played(real):  # type: ignore[valid-type,misc]
        def __init__(self, arguments, **kwargs) -> None:  # type: ignore[no-untyped-def]
            kwargs["env"] = {**kwargs["env"], "PYTHONPATH": path}
            super().__init__(arguments, **kwargs)

    monkeypatch.setattr(worker, "Child", Played)
    return tmp_path / "played.py"


def test_a_job_is_done_and_its_events_are_heard(module: Path) -> None:
    module.write_text(_SERVING.format(body="pass"))
    heard: list[Event] = []
    finished = call("played", Job(21), stage="play", on_event=heard.append)
    assert finished.done["double"] == 42
    assert [(event["event"], event["number"]) for event in heard] == [("half", 10.5)]
    assert finished.cost.stage == "play"
    assert finished.cost.cpu_s > 0


def test_an_error_keeps_its_class_and_hint_across_the_processes(module: Path) -> None:
    module.write_text(_SERVING.format(body="raise SourceError('no weights', hint='get some')"))
    with pytest.raises(SourceError, match="no weights") as caught:
        call("played", Job(1), stage="play", on_event=lambda event: None)
    assert caught.value.hint == "get some"


def test_a_job_that_the_worker_does_not_know_is_an_error(module: Path) -> None:
    module.write_text(_SERVING.format(body="pass").replace("number: int", "other: int"))
    with pytest.raises(ConfigError, match="unknown key 'number'"):
        call("played", Job(1), stage="play", on_event=lambda event: None)


def test_a_worker_that_dies_leaves_the_end_of_its_log(module: Path) -> None:
    module.write_text("import os\nos.write(2, b'the last words\\n')\nos.abort()\n")
    with pytest.raises(ExportError, match="SIGABRT") as caught:
        call("played", Job(1), stage="play", on_event=lambda event: None)
    assert "the last words" in caught.value.hint


def test_a_worker_that_is_killed_is_said_to_lack_memory(module: Path) -> None:
    module.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    with pytest.raises(ResourceError, match="memory"):
        call("played", Job(1), stage="play", on_event=lambda event: None)


def test_a_worker_that_writes_something_else_is_an_error(module: Path) -> None:
    module.write_text("print('hello')\n")
    with pytest.raises(ExportError, match="not its protocol: 'hello'"):
        call("played", Job(1), stage="play", on_event=lambda event: None)


def test_a_worker_ends_when_its_input_does(module: Path) -> None:
    module.write_text(_SERVING.format(body="import time; time.sleep(60)"))
    arguments = [sys.executable, "-P", "-m", "played"]
    root = Path(worker.__file__).parents[2]
    environment = {"PYTHONPATH": os.pathsep.join((str(module.parent), str(root)))}
    with Child(arguments, env=environment) as child:
        child.send('{"number": 1}')
        next(child.lines())
        child.close_input()
        assert child.wait(timeout_s=20) == 130


def test_a_worker_does_one_job_after_another_in_the_same_process(module: Path) -> None:
    module.write_text(_SERVING.format(body="import os; emit('mine', pid=os.getpid())"))
    heard: list[Event] = []
    with Worker("played") as serving:
        finished = [
            serving.do(Job(number), stage="play", on_event=heard.append) for number in (1, 2)
        ]
        assert serving.is_ready
        assert serving.end("play") >= 0
    assert [it.done["double"] for it in finished] == [2, 4]
    assert len({event["pid"] for event in heard if event["event"] == "mine"}) == 1
    assert finished[1].done["cpu_s"] >= finished[0].done["cpu_s"] > 0


def test_what_a_worker_did_is_kept_where_it_does_not_end(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_END_S", 0.2)
    lingering = "import atexit, time; atexit.register(time.sleep, 60)"
    module.write_text(_SERVING.format(body=lingering))
    finished = call("played", Job(21), stage="play", on_event=lambda event: None)
    assert finished.done["double"] == 42
    assert finished.cost.cpu_s > 0


def test_the_cost_of_a_job_leaves_out_the_jobs_before_it(module: Path) -> None:
    spin = "import time; end = time.process_time() + 0.5 * (2 - job.number)"
    module.write_text(_SERVING.format(body=f"{spin}\n    while time.process_time() < end: pass"))
    with Worker("played") as serving:
        first, second = (
            serving.do(Job(number), stage="play", on_event=lambda event: None) for number in (1, 2)
        )
    assert first.cost.cpu_s >= 0.5 > second.cost.cpu_s


def test_a_worker_whose_job_failed_takes_no_other(module: Path) -> None:
    module.write_text(_SERVING.format(body="raise SourceError('no weights')"))
    with Worker("played") as serving:
        with pytest.raises(SourceError):
            serving.do(Job(1), stage="play", on_event=lambda event: None)
        assert not serving.is_ready


@pytest.mark.skipif(sys.platform != "linux", reason="PSS is told by Linux's /proc only")
def test_a_sampler_that_runs_already_measures_the_memory_of_a_job(module: Path) -> None:
    module.write_text(_SERVING.format(body="pass"))
    with PeakSampler() as sampler:
        block = bytearray(b"x" * (96 << 20))
        sampler.end_lap()
        del block
        done = call("played", Job(1), stage="play", on_event=lambda event: None, sampler=sampler)
    assert done.cost.peak_memory_bytes is not None
    assert done.cost.peak_memory_bytes >= 96 << 20  # the block was held before the worker began
