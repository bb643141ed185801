"""A farm of machines, without Ray: who does what, what is lost and done again, what is trusted."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.choose.cache import Cache
from edgegen.choose.engines import ray_node
from edgegen.choose.engines.farm import (
    MOST_ATTEMPTS,
    Assignment,
    Dispatch,
    Lost,
    Node,
    device_of,
    node_of,
)
from edgegen.choose.engines.messages import Job, making_here
from edgegen.choose.engines.parcels import Shelf, artifact_of, pack, pieces_of
from edgegen.choose.engines.ray import RayEngine
from edgegen.choose.engines.ray_cluster import Ended, connect, ended_by
from edgegen.choose.run import Run, fault_of
from edgegen.choose.tasks import BuildTask, Done, MeasureTask, ModelRef, Task
from edgegen.core.choice import Choice
from edgegen.core.errors import (
    ConfigError,
    IntegrityError,
    MissingDependencyError,
    ResourceError,
)
from edgegen.core.package import Artifact
from edgegen.core.progress import SilentProgress
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from tests.choose.played import Played, new_run
from tests.choose.played_cluster import PlayedCluster, played_place, spoiled, strayed

RECIPES = ("fp16", "int8")
BOARD = {"edgegen": 1.0, "device:board=local": 1.0}


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("edgegen.choose.engines.members._LOOK_S", 0.0)
    monkeypatch.setattr("edgegen.choose.engines.ray._HOMELESS_S", 0.05)


def node(name: str, *devices: str, slots: int = 1) -> Node:
    made = node_of(name, f"host-{name}", {"edgegen": slots, **dict.fromkeys(devices, 1.0)})
    assert made is not None
    return made


def build(key: str, model: str = "a") -> BuildTask:
    return BuildTask(
        key=key,
        model=ModelRef(source=model),
        target="onnx",
        recipe=load_recipe("fp32", load_target("onnx")),
        profile=None,
        width=None,
        height=None,
    )


def measure(key: str, device: str = "board") -> MeasureTask:
    return MeasureTask(
        key=key,
        package="",
        device=device,
        root=None,
        profile=None,
        steps=4,
        width=64,
        height=64,
        effort="whole",
        sustained_s=None,
        patience_s=None,
    )


def dispatch(*tasks: Task) -> Dispatch:
    made = Dispatch()
    made.add(tasks)
    return made


def keys(assignments: list[Assignment]) -> dict[str, list[str]]:
    return {it.node.id: [task.key for task in it.tasks] for it in assignments}


@pytest.mark.parametrize(
    ("resource", "name", "address"),
    [
        ("device:pi5=ssh://pi@10.0.0.7", "pi5", "ssh://pi@10.0.0.7"),
        ("device:adb://R3CN30", "adb://R3CN30", "adb://R3CN30"),
        ("device:board=local", "board", "local"),
    ],
)
def test_a_resource_names_a_device_and_its_address(resource: str, name: str, address: str) -> None:
    device = device_of(resource)
    assert device is not None
    assert (device.name, device.address) == (name, address)
    assert device.is_called(name)
    assert device.is_called(address) == (address != "local")  # which each machine is to itself


@pytest.mark.parametrize("resource", ["CPU", "edgegen", "device:", "device:=local", "device:a="])
def test_other_resources_name_no_device(resource: str) -> None:
    assert device_of(resource) is None


@pytest.mark.parametrize("resources", [{}, {"CPU": 8.0}, {"edgegen": 0.5}])
def test_a_machine_without_a_whole_resource_takes_no_part(resources: dict[str, float]) -> None:
    assert node_of("a", "host", resources) is None


def test_packages_of_a_model_are_spread_over_machines_that_are_free() -> None:
    waiting = dispatch(*(build(str(n)) for n in range(5)))
    found = keys(list(waiting.assign([node("a"), node("b")])))
    assert sorted(map(len, found.values())) == [2, 3]
    assert not list(waiting.assign([node("a"), node("b")]))  # all are busy


def test_an_attached_device_is_given_to_one_task_however_many_machines_reach_it() -> None:
    address = "device:pi=ssh://pi@10.0.0.7"
    waiting = dispatch(measure("1", "pi"), measure("2", "pi"), build("3"))
    nodes = [node("a", address), node("b", address)]
    first = list(waiting.assign(nodes))
    assert [task.key for it in first for task in it.tasks] == [
        "1",
        "3",
    ]  # its host is free to build
    assert first[0].resources == {address: 1.0}
    assert waiting.ended(first[0]) == []  # lost: the other machine reaches it, too
    (again,) = waiting.assign(nodes)
    assert again.tasks[0].key == "1"
    assert again.node.id != first[0].node.id


def test_a_machine_that_is_its_own_device_does_nothing_else_while_it_is_measured() -> None:
    waiting = dispatch(build("1"), build("2", "b"))
    own = node("a", "device:board=local", slots=2)
    (one, two) = waiting.assign([own])
    waiting.add([measure("m"), build("3", "c")])
    assert waiting.answered(one, Done(key="1"), [own])
    assert waiting.ended(one) == []
    assert not list(waiting.assign([own]))  # it is kept for the measurement, not given the build
    assert waiting.answered(two, Done(key="2"), [own])
    waiting.ended(two)
    (measuring,) = waiting.assign([own])
    assert measuring.resources == {"edgegen": 2.0, "device:board=local": 1.0}


def test_a_task_that_is_lost_each_time_is_given_up_with_the_reasons() -> None:
    nodes = [node("a"), node("b")]
    waiting = dispatch(build("1"))
    used, given_up = [], []
    for attempt in range(MOST_ATTEMPTS):
        (assignment,) = waiting.assign(nodes)
        used.append(assignment.node.id)
        given_up = waiting.ended(assignment, f"reason {attempt}")
    assert used[0] != used[1]
    (done,) = given_up
    assert done.kind == "ResourceError"
    assert all(f"reason {attempt}" in done.failed for attempt in range(MOST_ATTEMPTS))
    assert waiting.waiting == ()


@pytest.mark.parametrize(
    ("lost", "kind", "words"),
    [
        (("memory",) * 3, "OutOfMemoryError", "ran out of memory on host-a and host-b each of 3"),
        (("process",) * 3, "ExportError", "host-a: why (2 times); host-b: why"),
        (("machine", "process", "process"), "ExportError", "lost each time"),
        (("machine", "memory", "process"), "OutOfMemoryError", "lost each time"),
        (("machine",) * 3, "ResourceError", "lost each time"),
    ],
)
def test_a_task_whose_processes_are_killed_is_at_fault_itself(
    lost: tuple[Lost, ...], kind: str, words: str
) -> None:
    waiting = dispatch(build("1"))
    given_up: list[Done] = []
    for what in lost:
        (assignment,) = waiting.assign([node("a"), node("b")])
        given_up = waiting.ended(assignment, "why", what)
    (done,) = given_up
    assert done.kind == kind
    assert words in done.failed
    assert done.hint
    assert (fault_of(done) is None) == (kind != "ResourceError")


class PlayedRayError(Exception):
    """Stands in for `ray.exceptions`, by the names of the classes."""

    class RayTaskError(Exception):
        def __init__(self, cause: Exception) -> None:
            self.cause = cause

    class OutOfMemoryError(Exception): ...

    class WorkerCrashedError(Exception): ...

    class NodeDiedError(Exception): ...

    class ActorDiedError(Exception): ...


@pytest.mark.parametrize(
    ("error", "why", "lost"),
    [
        (PlayedRayError.OutOfMemoryError(), "memory ran out there", "memory"),
        (PlayedRayError.RayTaskError(MemoryError()), "memory ran out there", "memory"),
        (PlayedRayError.WorkerCrashedError(), "its process was ended", "process"),
        (PlayedRayError.NodeDiedError(), "the machine was lost", "machine"),
        # The worker goes on: what sends it files, on the machine that asks, ran out of memory.
        (
            PlayedRayError.RayTaskError(PlayedRayError.OutOfMemoryError()),
            "memory ran out there",
            "machine",
        ),
        (
            PlayedRayError.RayTaskError(KeyError("x")),
            "it failed: KeyError: 'x'",
            "machine",
        ),
        (PlayedRayError("something new"), "Ray says: something new", "machine"),
    ],
)
def test_an_error_of_ray_says_what_was_lost(error: Exception, why: str, lost: Lost) -> None:
    assert ended_by(error, PlayedRayError) == Ended(why=why, lost=lost)


def test_what_a_machine_is_to_blame_for_is_tried_elsewhere_and_what_a_task_is_isnt() -> None:
    nodes = [node("a"), node("b")]
    for kind, elsewhere in (("ResourceError", True), ("ExportError", False), ("", False)):
        waiting = dispatch(build("1"))
        (assignment,) = waiting.assign(nodes)
        done = Done(key="1", failed="no", kind=kind)
        assert (waiting.answered(assignment, done, nodes) is None) == elsewhere
        waiting.ended(assignment)
        assert bool(waiting.waiting) == elsewhere
        if elsewhere:
            (again,) = waiting.assign(nodes)
            assert again.node.id != assignment.node.id
            assert waiting.answered(again, done, nodes) is done  # both have tried


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"version": "0.0.1"}, "edgegen 0.0.1"),
        ({"code": "0.0.1 abc"}, "another source"),
        ({"toolkits": {}}, "has no "),
    ],
)
def test_a_machine_that_would_make_something_else_is_told_apart(
    other: dict[str, object], words: str
) -> None:
    here = making_here()
    assert here.difference(here) == ""
    assert words in here.difference(replace(here, **other))  # type: ignore[arg-type]


def test_a_folder_is_sent_by_content_and_each_file_once(tmp_path: Path) -> None:
    for name, words in (("one", {"a": b"x" * 10, "deep/b": b"y"}), ("two", {"c": b"x" * 10})):
        for path, data in words.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
    shelf, read = Shelf(tmp_path / "shelf"), []

    def reading(folder: Path) -> Callable[[Artifact], list[bytes]]:
        return lambda file: read.append(file.path) or list(pieces_of(folder / file.path))  # type: ignore[func-returns-value]

    one = shelf.lay_out(pack(tmp_path / "one"), reading(tmp_path / "one"))
    two = shelf.lay_out(pack(tmp_path / "two"), reading(tmp_path / "two"))
    assert (one / "deep" / "b").read_bytes() == b"y"
    assert (two / "c").read_bytes() == b"x" * 10
    assert sorted(read) == ["a", "deep/b"]
    assert shelf.lay_out(pack(tmp_path / "one"), reading(tmp_path / "one")) == one
    assert len(read) == 2


@pytest.mark.parametrize(
    ("change", "data"),
    [
        ({}, b"yyy"),
        ({}, b"xx"),
        ({}, b"xxxx"),
        ({"path": "../out"}, b"xxx"),
        ({"path": "/etc/out"}, b"xxx"),
        ({"sha256": "../../out"}, b"xxx"),
    ],
)
def test_what_isnt_as_promised_is_refused_and_leaves_nothing(
    tmp_path: Path, change: dict[str, str], data: bytes
) -> None:
    (tmp_path / "a").write_bytes(b"xxx")
    file = replace(artifact_of(tmp_path, "a"), **change)
    parcel = replace(pack(tmp_path, ["a"]), files=(file,))
    with pytest.raises(IntegrityError):
        Shelf(tmp_path / "shelf").lay_out(parcel, lambda file: [data])
    assert not [it for it in (tmp_path / "shelf").rglob("out") if it.is_file()]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "shelf" / "folders" / parcel.id).exists()


def farm_run(engine: RayEngine, cache: Cache, output: Path) -> Choice:
    """Run a choice whose toolkits and devices are played, with everything tried."""
    run = farm_choice(engine, cache, output)
    run.go(engine)
    return run.write()


def farm_choice(engine: RayEngine, cache: Cache, output: Path) -> Run:
    run = new_run(output, exhaustive=True, recipes=RECIPES)
    run.cache = run.jobs.cache = cache
    place = engine.place("board", None, None)
    assert place.device is not None
    run.jobs.device = place.device
    return run


def here(output: Path) -> Choice:
    from edgegen.choose.engines.local import LocalEngine

    run = new_run(output, exhaustive=True, recipes=RECIPES)
    with LocalEngine(run.cache, SilentProgress()) as engine:
        run.go(engine)
    return run.write()


def told(choice: Choice) -> dict[str, tuple[object, str, str]]:
    return {row.way.name: (row.figures, row.standing, row.why) for row in choice.rows}


def test_a_farm_says_what_this_machine_says_whichever_machines_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Played(tmp_path / "log", failing=["fp16"]).standing_in():
        monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "other"))
        expected = told(here(tmp_path / "here"))
        monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
        dice = random.Random(7)
        lost: list[str] = []

        def befalls(cluster: PlayedCluster, name: str, count: int) -> None:
            if name != "a" and dice.random() < 0.06:
                lost.append(name)
                cluster.lose(name)
                cluster.machines[f"{name}+"] = BOARD  # it is back, as another node

        cluster = PlayedCluster(
            tmp_path / "farm", dict.fromkeys("abc", BOARD), befalls=befalls, shared="a"
        )
        cache = Cache()
        with RayEngine(cache, SilentProgress(), connects=lambda address: cluster) as engine:
            found = farm_run(engine, cache, tmp_path / "there")
        assert told(found) == expected
        assert lost
        assert any(span.why_lost for span in engine.spans)
        assert {span.node[0] for span in engine.spans} == {"a", "b", "c"}
        assert cluster.closed
        assert not list(cache.folder.glob(".edgegen-*"))

        def all_lost(cluster: PlayedCluster, name: str, count: int) -> None:
            raise AssertionError("something is done again")

        quiet = PlayedCluster(tmp_path / "farm", {"a": BOARD}, befalls=all_lost)
        with RayEngine(cache, SilentProgress(), connects=lambda address: quiet) as engine:
            assert told(farm_run(engine, cache, tmp_path / "again")) == expected


def test_a_candidate_whose_worker_memory_ends_each_time_is_a_row_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(job: Job) -> Ended | None:
        is_hungry = any(isinstance(it, BuildTask) and it.recipe.name == "int8" for it in job.tasks)
        return Ended(why="memory ran out there", lost="memory") if is_hungry else None

    with Played(tmp_path / "log").standing_in():
        monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "other"))
        expected = told(here(tmp_path / "here"))
        monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
        cluster = PlayedCluster(tmp_path / "farm", {"a": BOARD})
        cluster.ends = ends
        cache = Cache()
        with RayEngine(cache, SilentProgress(), connects=lambda address: cluster) as engine:
            run = farm_choice(engine, cache, tmp_path / "there")
            run.go(engine)
        found = run.write()
    assert run.gone is None
    assert found.interrupted is None
    hungry = [row for row in found.rows if row.way.recipe == "int8"]
    assert hungry
    why = (
        f"could not be built: the worker ran out of memory on host-a each of {MOST_ATTEMPTS} times"
    )
    assert {(row.standing, row.why) for row in hungry} == {("failed", why)}
    others = {name: said for name, said in told(found).items() if "int8" not in name}
    assert others
    assert {name: figures for name, (figures, *_) in others.items()} == {
        name: figures for name, (figures, *_) in expected.items() if name in others
    }
    assert {row.standing for row in found.rows if row.way.recipe != "int8"} <= {
        "breaks",
        "winner",
        "fits",
    }
    assert any("was begun again" in it for it in engine.warnings)
    assert any("is given up" in it for it in engine.warnings)


@pytest.mark.parametrize("change", [spoiled, strayed])
def test_what_a_machine_sends_is_checked_and_a_bad_one_is_left(
    tmp_path: Path, change: Callable[..., object]
) -> None:
    cluster = PlayedCluster(tmp_path / "farm", {"a": {"edgegen": 1.0}})
    cluster.changes = change  # type: ignore[assignment]
    cache = Cache()
    with (
        Played(tmp_path / "log").standing_in(),
        RayEngine(cache, SilentProgress(), connects=lambda address: cluster) as engine,
    ):
        run = new_run(tmp_path / "out")
        package = next(iter(run.jobs.space.packages))
        engine.submit([run.jobs._build(package)])
        (done,) = engine.completed()
    assert done.kind == "ResourceError"
    assert f"{MOST_ATTEMPTS} times" in done.failed
    assert not (cache.folder / "packages").exists()
    assert not (tmp_path / "stray").exists()
    assert not list(cache.folder.rglob("*stray*"))


def test_a_farm_whose_machines_are_all_lost_ends_with_an_error_and_keeps_what_was_made(
    tmp_path: Path,
) -> None:
    def befalls(cluster: PlayedCluster, name: str, count: int) -> None:
        if len(list((tmp_path / "cache" / "choose" / "packages").glob("*"))) >= 1:
            cluster.lose(name)

    cluster = PlayedCluster(tmp_path / "farm", dict.fromkeys("ab", BOARD), befalls=befalls)
    cache = Cache()
    with (
        Played(tmp_path / "log").standing_in(),
        RayEngine(cache, SilentProgress(), connects=lambda address: cluster) as engine,
        pytest.raises(ResourceError, match="No machine"),
    ):
        farm_run(engine, cache, tmp_path / "out")
    assert list((cache.folder / "packages").glob("*/edgegen.json"))
    assert cluster.closed


def test_devices_that_share_a_name_must_be_alike(tmp_path: Path) -> None:
    places = {"b": played_place(cores=8)}
    cluster = PlayedCluster(tmp_path, dict.fromkeys("ab", BOARD), places=places)
    with (
        RayEngine(Cache(), SilentProgress(), connects=lambda address: cluster) as engine,
        pytest.raises(ConfigError, match="not alike: cores is 4 and 8"),
    ):
        engine.place("board", None, None)


def test_a_device_that_no_machine_has_is_an_error_that_names_those_there_are(
    tmp_path: Path,
) -> None:
    cluster = PlayedCluster(tmp_path, {"a": BOARD})
    with RayEngine(Cache(), SilentProgress(), connects=lambda address: cluster) as engine:
        with pytest.raises(ConfigError) as caught:
            engine.place("bord", None, None)
        assert "Did you mean 'board'?" in caught.value.hint


def test_without_a_machine_that_takes_part_the_error_says_what_each_lacks(tmp_path: Path) -> None:
    other = replace(making_here(), version="0.0.1")
    cluster = PlayedCluster(tmp_path, {"a": BOARD}, making={"a": other})
    with (
        pytest.raises(ResourceError, match=r"host-a takes no part: it has edgegen 0\.0\.1"),
        RayEngine(Cache(), SilentProgress(), connects=lambda address: cluster),
    ):
        pass
    assert cluster.closed


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError) as caught:
        connect(None)
    assert caught.value.hint == "Run: pip install 'edgegen[ray]'"


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:65536", "head:x"])
def test_an_address_that_cannot_be_a_clusters_is_refused_before_ray_is_asked(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError) as caught:
        connect(address)
    assert caught.value.hint


def test_threads_that_ray_takes_from_libraries_are_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ray_node.THREADS, "1")
    monkeypatch.setattr(ray_node, "_first_environment", lambda: set())
    with ray_node.own_threads():
        assert ray_node.THREADS not in ray_node.os.environ
    assert ray_node.os.environ[ray_node.THREADS] == "1"
    monkeypatch.setattr(ray_node, "_first_environment", lambda: {ray_node.THREADS})
    with ray_node.own_threads():
        assert ray_node.os.environ[ray_node.THREADS] == "1"
