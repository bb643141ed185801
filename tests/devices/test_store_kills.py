"""kill -9 of the agent while it prunes, deploys or rolls back: no half version becomes current."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import DeviceError
from edgegen.devices import store
from edgegen.devices.device import Device
from tests.devices.stand_ins import OtherMachine, device
from tests.tiny_packages import onnx_package

NAME = "cats"
FILES = 40
VERSIONS = 4
KILLS = 150


def make_cargo(folder: Path, like: store.Shipment, number: int) -> store.Shipment:
    """A version of many small files, some of which others have, too."""
    files = []
    for index in range(FILES):
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

    @contextlib.contextmanager
    def connected(self):  # type: ignore[no-untyped-def]  # a context manager of a Device
        with device(OtherMachine(self.home)) as there:
            there.agent.lock("test")
            yield there

    def fill(self) -> None:
        """Deploy every version, the last one last."""
        with self.connected() as there:
            for cargo in self.cargos:
                store.switch(there, store.push(there, cargo))

    def current(self) -> str | None:
        link = self.home / "packages" / NAME / "current"
        return link.readlink().name if link.is_symlink() else None

    def assert_current_is_whole(self, why: str) -> None:
        version = self.current()
        if version is None:
            return
        (cargo,) = [each for each in self.cargos if each.version == version]
        for file in cargo.files:
            there = self.home / "packages" / NAME / "current" / file.path
            assert there.is_file(), f"{why}: {version} lacks {file.path}"
            assert there.read_bytes() == file.source.read_bytes(), f"{why}: {file.path}"

    def kill_in(self, job: Callable[[Device], object], delay_s: float) -> bool:
        """Kill the agent so long after a job began; return whether that broke the job off."""
        with device(OtherMachine(self.home)) as there:
            there.agent.lock("killed")
            child = there.agent._child
            assert child is not None

            def kill() -> None:
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

    def duration_s(self, job: Callable[[Device], object]) -> float:
        with self.connected() as there:
            started = time.monotonic()
            job(there)
            return time.monotonic() - started


def campaign(home: Path, cargos: list[store.Shipment], kills: int, seed: int) -> int:
    """Kill jobs at random moments, judge the store each time; return how many were broken off."""
    draw = random.Random(seed)
    found = Store(home, cargos)

    def deploy(there: Device) -> None:
        for cargo in cargos[-2:]:
            store.switch(there, store.push(there, cargo))

    jobs: dict[str, Callable[[Device], object]] = {
        "prune": lambda there: store.prune(there, keep=0),
        "deploy": deploy,
        "rollback": lambda there: store.rollback(there, NAME),
    }
    found.fill()
    takes_s = {}
    for name in ("rollback", "prune", "deploy"):
        takes_s[name] = found.duration_s(jobs[name])
    broken = 0
    for number in range(kills):
        name = draw.choice(["prune", "prune", "deploy", "rollback"])
        why = f"kill {number} in {name}"
        found.fill()
        before = found.current()
        assert before == cargos[-1].version
        if name == "deploy":  # back to where there is something to deploy
            with found.connected() as there:
                store.rollback(there, NAME)
                store.prune(there, keep=0)
        broken += found.kill_in(jobs[name], draw.uniform(0, 1.1 * takes_s[name]))
        assert found.current() is not None, f"{why}: what was current is lost"
        found.assert_current_is_whole(why)
        with found.connected() as there:
            with contextlib.suppress(DeviceError):  # where no whole version is left
                store.rollback(there, NAME)
            found.assert_current_is_whole(f"{why}, then rollback")
            store.prune(there, keep=1)
            found.assert_current_is_whole(f"{why}, then prune")
            assert all(each.whole for pack in store.status(there) for each in pack.versions)
    return broken


@pytest.fixture
def cargos(tmp_path: Path) -> list[store.Shipment]:
    like = store.shipment(onnx_package(tmp_path / "package"))
    return [make_cargo(tmp_path / "sources", like, number) for number in range(VERSIONS)]


def test_a_kill_never_leaves_half_a_version_that_can_become_current(
    tmp_path: Path, cargos: list[store.Shipment]
) -> None:
    campaign(tmp_path / "home", cargos, kills=5, seed=1)


@pytest.mark.slow
def test_many_kills_never_leave_half_a_version_that_can_become_current(
    tmp_path: Path, cargos: list[store.Shipment]
) -> None:
    broken = campaign(tmp_path / "home", cargos, kills=KILLS, seed=2)
    assert broken > KILLS // 3, "too few kills came while the agent worked"
