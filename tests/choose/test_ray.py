"""A farm of three machines, each with its own device, on a Ray cluster that is real."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgegen.choose.cache import Cache
from edgegen.choose.engine import Engine
from edgegen.choose.engines.farm import MOST_ATTEMPTS
from edgegen.choose.engines.local import LocalEngine
from edgegen.choose.engines.ray import RayEngine, Span
from edgegen.choose.engines.ray_cluster import Ended, ended_by
from edgegen.choose.prepare import Asked, place_of_device
from edgegen.choose.run import Run, fault_of
from edgegen.choose.space import Wanted
from edgegen.core.choice import Choice, Row
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.figures import Limit
from edgegen.core.files import STAGING_PREFIX
from edgegen.core.progress import SilentProgress
from edgegen.models.source import resolve
from edgegen.runner.attach import attach
from tests.choose.played import run_of
from tests.choose.ray_farm import Farm, Machine, farm

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MODEL = "builtin:scenes-4step-tiny"
DEVICE = "board"
RESOURCES = {"edgegen": 1.0, f"device:{DEVICE}=local": 1.0}
LIMITS = (Limit(figure="right", value=0.1), Limit(figure="latency", value=60.0))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def three_machines(tmp_path: Path, _own_folders: None) -> Iterator[Farm]:
    """The first machine has the cache of whoever asks; the others have their own."""
    with farm(tmp_path / "farm") as opened:
        opened.add(RESOURCES, environment={"EDGEGEN_CACHE_DIR": os.environ["EDGEGEN_CACHE_DIR"]})
        opened.add(RESOURCES)
        opened.add(RESOURCES)
        yield opened


def new_run(engine: Engine, cache: Cache, output: Path) -> Run:
    """Return a choice among two recipes in two numbers of steps, of which all are tried."""
    place = engine.place(DEVICE, None, None)
    if place is None:
        with attach("local") as device:
            place = place_of_device(device, None, None)
    asked = Asked(
        models=(resolve(MODEL),),
        wanted=Wanted(targets=("onnx",), recipes=("fp16", "fp32"), steps=(2, 4)),
        limits=LIMITS,
        pictures=2,
        exhaustive=True,
    )
    return run_of(asked, place, cache, output, device=DEVICE)


def is_measuring(span: Span) -> bool:
    return span.device is not None and span.begun_at_s is not None and span.ended_at_s is None


@dataclass(kw_only=True)
class Strike:
    """Waits in a thread until the engine does something, and strikes then."""

    engine: RayEngine
    when: Callable[[Span], bool]
    then: Callable[[Span], None]
    span: Span | None = None
    at_s: float = 0.0

    def __enter__(self) -> Strike:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _watch(self) -> None:
        while self.span is None:
            time.sleep(0.05)
            self.span = next((it for it in list(self.engine.spans) if self.when(it)), None)
        self.at_s = time.time()
        self.then(self.span)


def told(choice: Choice) -> dict[str, dict[str, Any]]:
    """Return what a choice says that doesn't depend on which machine said it."""
    return {row.way.name: _figures(row) for row in choice.rows}


def _figures(row: Row) -> dict[str, Any]:
    same = {name: row.figures[name].value for name in ("size", "right", "psnr", "ssim")}
    return {
        **same,
        "standing": row.standing,
        "measured": [row.figures[name].origin for name in ("latency", "memory")],
    }


def intervals(spans: list[Span], lost_at_s: float) -> dict[str, list[tuple[float, float]]]:
    """Return when each machine's device measured; where it was lost, until then."""
    found: dict[str, list[tuple[float, float]]] = {}
    for span in spans:
        if span.device is not None and span.begun_at_s is not None:
            ended_s = lost_at_s if span.ended_at_s is None else span.ended_at_s
            found.setdefault(span.node, []).append((span.begun_at_s, ended_s))
    return found


def test_a_farm_that_loses_a_machine_says_what_this_machine_says(
    three_machines: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *others = three_machines.machines
    by_id = {machine.id: machine for machine in others}
    cache = Cache()
    with RayEngine(cache, SilentProgress(), address=three_machines.address) as engine:
        run = new_run(engine, cache, tmp_path / "farm-out")
        started = processes_of(three_machines)
        with Strike(
            engine=engine,
            when=lambda span: is_measuring(span) and span.node in by_id,
            then=lambda span: by_id[span.node].kill(),
        ) as strike:
            run.go(engine)
        run.put_winners()
        by_farm = run.write()
    assert strike.span is not None, "no machine was killed"
    assert strike.span.why_lost
    assert by_farm.interrupted is None
    (warning,) = engine.warnings
    assert strike.span.why_lost in warning

    lost = set(strike.span.keys)
    again = [span for span in engine.spans if lost & set(span.keys) and span is not strike.span]
    assert again, "what was lost was not done again"
    assert all(span.node != strike.span.node for span in again)
    assert len(again) < MOST_ATTEMPTS

    used = intervals(engine.spans, strike.at_s)
    assert len(used) >= 2
    for spans in used.values():
        ordered = sorted(spans)
        for (_, ended_s), (begun_s, _) in pairwise(ordered):
            assert ended_s <= begun_s

    alive = [machine for machine in three_machines.machines if machine.id != strike.span.node]
    assert [it for machine in alive for it in left_in(machine.cache / "choose")] == []
    assert left_in(cache.folder) == []
    assert started  # they were there

    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "other-cache"))
    other = Cache()
    with LocalEngine(other, SilentProgress()) as here:
        run = new_run(here, other, tmp_path / "local-out")
        run.go(here)
        by_this_machine = run.write()
    assert told(by_farm) == told(by_this_machine)
    assert [row.way for row in by_farm.winners] == [row.way for row in by_this_machine.winners]
    assert by_farm.winners


def test_a_task_whose_worker_is_killed_each_time_is_given_up_and_the_next_is_done(
    tmp_path: Path,
) -> None:
    with farm(tmp_path / "farm") as opened:
        machine = opened.add(RESOURCES)
        cache = Cache()
        with RayEngine(cache, SilentProgress(), address=opened.address) as engine:
            run = new_run(engine, cache, tmp_path / "out")
            doomed, other = (run.jobs._build(it) for it in run.jobs.space.packages)
            killed: set[int] = set()
            over = threading.Event()
            killer = threading.Thread(target=kill_workers, args=(machine, killed, over))
            killer.start()
            try:
                engine.submit([doomed])
                (lost,) = engine.completed()
            finally:
                over.set()
                killer.join()
            engine.submit([other])
            (done,) = engine.completed()
    assert lost.key == doomed.key
    assert f"begun {MOST_ATTEMPTS} times and lost each time" in lost.failed
    assert f"its process was ended ({MOST_ATTEMPTS} times)" in lost.failed
    assert fault_of(lost) is None  # it is a row, and no end of the run
    assert len(killed) >= MOST_ATTEMPTS
    assert (done.key, done.failed) == (other.key, "")


def kill_workers(machine: Machine, killed: set[int], over: threading.Event) -> None:
    """End each worker that does a task, as the kernel does where memory runs out."""
    while not over.wait(0.05):
        for pid in machine.processes()[1:]:
            with contextlib.suppress(OSError):
                if b"work_there" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)


def test_errors_of_ray_say_what_was_lost() -> None:
    import ray.exceptions as errors

    memory = ended_by(
        errors.OutOfMemoryError("Task was killed due to the node running low"), errors
    )
    assert memory == Ended(why="memory ran out there", lost="memory")
    worker = ended_by(errors.WorkerCrashedError(), errors)
    assert worker == Ended(why="its process was ended", lost="process")
    assert ended_by(errors.NodeDiedError("it is gone"), errors).lost == "machine"
    assert ended_by(errors.LocalRayletDiedError(), errors).lost == "machine"


def test_ctrl_c_cancels_what_runs_and_leaves_nothing(three_machines: Farm, tmp_path: Path) -> None:
    cache = Cache()
    handler = signal.getsignal(signal.SIGTERM)
    with RayEngine(cache, SilentProgress(), address=three_machines.address) as engine:
        assert signal.getsignal(signal.SIGTERM) is handler
        run = new_run(engine, cache, tmp_path / "out")
        seen: list[str] = []
        with Strike(
            engine=engine,
            when=lambda span: span.begun_at_s is not None,
            then=lambda span: interrupt_soon(seen, three_machines),
        ):
            run.go(engine)
        assert any("-m edgegen" in line for line in seen)
        assert run.interrupted == "Ctrl-C"
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s and any(workers_of(it) for it in three_machines.machines):
        time.sleep(0.2)
    assert [workers_of(machine) for machine in three_machines.machines] == [[], [], []]
    for machine in three_machines.machines:
        assert left_in(machine.cache) == []
    assert left_in(cache.folder) == []
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_machine_with_another_edgegen_takes_no_part_and_a_device_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ray lets workers import from the driver's folder first
    other = tmp_path / "other" / "edgegen"
    copy_package(other)
    (other / "newer.py").write_text('"""What this machine lacks."""\n')
    with farm(tmp_path / "farm") as opened:
        opened.add({"edgegen": 1}, environment={"PYTHONPATH": str(other.parent)})
        cache = Cache()
        with (
            pytest.raises(ResourceError, match="another source of edgegen"),
            RayEngine(cache, SilentProgress(), address=opened.address),
        ):
            pass
        opened.add({"edgegen": 1, "device:phone=adb://NOT-THERE": 1})
        with RayEngine(cache, SilentProgress(), address=opened.address) as engine:
            (warning,) = engine.warnings
            assert "another source" in warning
            with pytest.raises(ConfigError, match="has the device 'tablet'"):
                engine.place("tablet", None, None)
    assert left_in(cache.folder) == []


def test_without_a_cluster_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as caught:
        RayEngine(Cache(), SilentProgress(), address="127.0.0.2:1").__enter__()
    assert "ray start --head" in caught.value.hint


def interrupt_soon(seen: list[str], opened: Farm) -> None:
    """Interrupt this process once children of a worker do its work, and note which."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and not any("-m edgegen" in line for line in seen):
        seen[:] = [line for machine in opened.machines for line in workers_of(machine)]
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)


def processes_of(opened: Farm) -> list[int]:
    return [pid for machine in opened.machines for pid in machine.processes()]


def workers_of(machine: Machine) -> list[str]:
    """Return the processes of a machine that do edgegen's work, or were started by it."""
    found = []
    for pid in machine.processes()[1:]:
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "edgegen" in line or "work_there" in line:
            found.append(line)
    return found


def left_in(folder: Path) -> list[str]:
    """Return what begins with the names of what is being written."""
    marks = (STAGING_PREFIX, "edgegen-")
    return sorted(
        str(path)
        for path in folder.rglob("*")
        if path.name.startswith(marks) and path.name != "edgegen.json"
    )


def copy_package(destination: Path) -> None:
    import shutil

    import edgegen

    shutil.copytree(Path(edgegen.__file__).parent, destination)
