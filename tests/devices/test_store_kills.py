"""kill -9 of the agent while it prunes, deploys or rolls back: no half version becomes current."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import DeviceError
from edgegen.devices import store
from edgegen.devices.device import Device
from tests.devices.stand_ins import OtherMachine, device
from tests.tiny_packages import onnx_package

NAME = "cats"
VERSIONS = 4
KILLS = 150


def make_cargo(folder: Path, like: store.Shipment, number: int, count: int) -> store.Shipment:
    """A version of many small files, some of which others have, too."""
    files = []
    for index in range(count):
        data = f"{number if index % 4 else 'shared'} {index}".encode() * 200
        source = folder / str(number) / f"{index}"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(data)
        files.append(
            store.File(
                path=f"part-{index % 3}/{index}.bin",
                source=source,
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
            )
        )
    version = hashlib.sha256(str(number).encode()).hexdigest()[:16]
    return replace(like, name=NAME, version=version, files=tuple(files))


class Store:
    """A device's store that is damaged by kills, and judged by the bytes that it holds."""

    def __init__(self, home: Path, cargos: list[store.Shipment]) -> None:
        self.home, self.cargos = home, cargos
        self.packages = home / "packages" / NAME

    @contextlib.contextmanager
    def connected(self, purpose: str = "test") -> Iterator[Device]:
        with device(OtherMachine(self.home)) as there:
            there.agent.lock(purpose)
            yield there

    def deploy(self, there: Device, cargos: list[store.Shipment]) -> None:
        for cargo in cargos:
            store.switch(there, store.push(there, cargo))

    def current(self) -> str | None:
        link = self.packages / "current"
        return link.readlink().name if link.is_symlink() else None

    def assert_current_is_whole(self, why: str) -> None:
        version = self.current()
        assert version is not None, f"{why}: what was current is lost"
        (cargo,) = [each for each in self.cargos if each.version == version]
        for file in cargo.files:
            there = self.packages / "current" / file.path
            assert there.is_file(), f"{why}: {version} lacks {file.path}"
            assert there.read_bytes() == file.source.read_bytes(), f"{why}: {file.path}"

    def has_changed(self, job: str) -> Callable[[], bool]:
        """Return what says that a job has begun to change the store."""
        blobs, versions = self.home / "blobs", self.packages / "versions"
        count = len(list(versions.iterdir()))
        sent = len(list(blobs.iterdir()))
        return {
            "prune": lambda: len(os.listdir(versions)) < count,  # noqa: PTH208 - it must be quick
            "deploy": lambda: len(os.listdir(blobs)) > sent,  # noqa: PTH208 - see above
            "rollback": lambda: True,
        }[job]

    def kill_in(self, name: str, job: Callable[[Device], object], delay_s: float) -> bool:
        """Kill the agent so long after a job's first change; return whether that broke it off."""
        with self.connected("killed") as there:
            child = there.agent._child
            assert child is not None
            has_begun = self.has_changed(name)

            def kill() -> None:
                until = time.monotonic() + 20
                while not has_begun() and time.monotonic() < until:
                    pass
                time.sleep(delay_s)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)

            killer = threading.Thread(target=kill)
            killer.start()
            try:
                job(there)
            except DeviceError:
                return True
            finally:
                killer.join()
        return False


def campaign(home: Path, cargos: list[store.Shipment], kills: int, seed: int) -> Counter[str]:
    """Kill jobs at random moments, judge the store each time; return how many were broken off."""
    draw = random.Random(seed)
    found = Store(home, cargos)
    jobs: dict[str, Callable[[Device], object]] = {
        "prune": lambda there: store.prune(there, keep=0),
        "deploy": lambda there: found.deploy(there, cargos[-2:]),
        "rollback": lambda there: store.rollback(there, NAME),
    }
    templates = {}
    with found.connected() as there:
        found.deploy(there, cargos[:-2])
        templates["deploy"] = saved(home, "before")
        found.deploy(there, cargos[-2:])
        templates["prune"] = templates["rollback"] = saved(home, "full")
    takes_s = {}
    for name in jobs:
        restore(templates[name], home)
        with found.connected() as there:
            started = time.monotonic()
            jobs[name](there)
            takes_s[name] = time.monotonic() - started
    broken: Counter[str] = Counter()
    for number in range(kills):
        name = draw.choice(["prune", "prune", "deploy", "rollback"])
        why = f"kill {number} in {name}"
        restore(templates[name], home)
        broken[name] += found.kill_in(name, jobs[name], draw.uniform(0, takes_s[name]))
        found.assert_current_is_whole(why)
        with found.connected() as there:
            with contextlib.suppress(DeviceError):  # where no whole version is left
                store.rollback(there, NAME)
            found.assert_current_is_whole(f"{why}, then rollback")
            store.prune(there, keep=1)
            found.assert_current_is_whole(f"{why}, then prune")
            assert all(each.whole for pack in store.status(there) for each in pack.versions)
    return broken


def saved(home: Path, name: str) -> Path:
    place = home.with_name(name)
    subprocess.run(["cp", "-a", str(home), str(place)], check=True)
    return place


def restore(template: Path, home: Path) -> None:
    shutil.rmtree(home)
    subprocess.run(["cp", "-a", str(template), str(home)], check=True)


def make_cargos(folder: Path, files: int) -> list[store.Shipment]:
    like = store.shipment(onnx_package(folder / "package"))
    return [make_cargo(folder / "sources", like, number, files) for number in range(VERSIONS)]


def test_a_kill_never_leaves_half_a_version_that_can_become_current(
    tmp_path: Path,
) -> None:
    campaign(tmp_path / "home", make_cargos(tmp_path, files=12), kills=3, seed=1)


@pytest.mark.slow
def test_many_kills_never_leave_half_a_version_that_can_become_current(
    tmp_path: Path,
) -> None:
    broken = campaign(tmp_path / "home", make_cargos(tmp_path, files=100), KILLS, seed=2)
    assert broken["prune"] > KILLS // 5, f"too few kills came while the agent worked: {broken}"
    assert broken["deploy"] > KILLS // 20, f"too few kills came while the agent worked: {broken}"
