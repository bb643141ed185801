"""Devices that refuse, are full, or are left in the middle, by the real ssh and the real adb."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgegen.core.errors import (
    DeviceFullError,
    DeviceUnauthorizedError,
    DeviceUnreachableError,
)
from edgegen.devices import store
from edgegen.devices.adb import AdbTransport
from edgegen.devices.device import Device
from edgegen.devices.discovery import attached, look_at
from edgegen.devices.ssh import SshTransport
from edgegen.devices.transports import PYTHONS
from edgegen.runner.pack import pack_runner
from tests.devices.adb_server import ADB, AdbServer
from tests.devices.adb_standin import StandInDevice
from tests.devices.conftest import adb_transport, is_running
from tests.devices.small_disk import small_disk
from tests.devices.sshd import Sshd
from tests.devices.stand_ins import OtherMachine, device
from tests.tiny_packages import onnx_package

needs_adb = pytest.mark.skipif(ADB is None, reason="no adb here: apt-get install adb")


def connect(transport: AdbTransport | SshTransport) -> None:
    with Device(transport, pack_runner()):
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdbServer:
    running = AdbServer(tmp_path / "adb")
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    return running


@needs_adb
def test_a_phone_that_has_not_allowed_us_says_what_to_do_there(
    tmp_path: Path, server: AdbServer
) -> None:
    with server, StandInDevice(storage=tmp_path, asks=True) as phone:
        server.adb("connect", phone.serial)
        server.wait_for(phone.serial, "unauthorized")
        address = f"adb://{phone.serial}"
        with pytest.raises(DeviceUnauthorizedError) as caught:
            connect(AdbTransport(address))
        assert "Allow USB debugging" in caught.value.hint
        (listed,) = [each for each in attached() if each.address == address]
        assert "Allow USB debugging" in listed.hint
        assert not listed.is_ready


@pytest.mark.slow  # adb takes 10 s to call a phone offline
@needs_adb
def test_a_phone_that_is_offline_is_told_as_such(tmp_path: Path, server: AdbServer) -> None:
    with server, StandInDevice(storage=tmp_path) as phone:
        phone.faults.silent = True
        server.adb("connect", phone.serial)
        server.wait_for(phone.serial, "offline", timeout_s=15)
        with pytest.raises(DeviceUnreachableError, match="offline"):
            connect(AdbTransport(f"adb://{phone.serial}"))


def test_a_phone_without_python_is_described_by_its_shell(android: StandInDevice) -> None:
    recorded = Path(__file__).parent / "recorded" / "android"
    android.power_off()
    getprop = f"exec /bin/cat {recorded / 'getprop_pixel_8_pro.txt'}\n"
    bare = StandInDevice(
        storage=android.storage,
        programs={"getprop": getprop, **dict.fromkeys(PYTHONS, "exit 127\n")},
    )
    with bare:
        subprocess.run(["adb", "connect", bare.serial], check=True, capture_output=True)
        until = time.monotonic() + 10
        listing = look_at(f"adb://{bare.serial}", pack_runner())
        while listing.model is None and time.monotonic() < until:
            time.sleep(0.2)
            listing = look_at(f"adb://{bare.serial}", pack_runner())
    assert listing.model == "Pixel 8 Pro"
    assert listing.profile is None  # pixel-8 is another device
    assert [lack.command for lack in listing.lacks] == [
        f"edgegen devices setup adb://{bare.serial}"
    ]


def test_a_disk_that_fills_up_in_the_middle_leaves_what_was_current(tmp_path: Path) -> None:
    package = onnx_package(tmp_path / "package")
    cargo = store.shipment(package)
    room = len(pack_runner()) + cargo.size_bytes // 2 + (64 << 10)
    with small_disk(tmp_path / "disk", room) as disk:
        transport = OtherMachine(disk / "home")
        with device(transport) as there:
            there.agent.lock("test")
            largest = max(cargo.files, key=lambda file: file.size_bytes)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            filler = disk / "filler"
            filler.write_bytes(bytes(free - largest.size_bytes // 2))
            with pytest.raises(DeviceFullError) as caught:
                there.agent.put(largest.source, largest.sha256, largest.size_bytes)
            assert "edgegen prune" in caught.value.hint
            filler.unlink()
            # The connection stands, and what had come is used.
            (found,) = there.agent.request("missing", blobs=[[largest.sha256, largest.size_bytes]])[
                "blobs"
            ]
            assert 0 < found[1] < largest.size_bytes
            there.agent.put(largest.source, largest.sha256, largest.size_bytes, offset=found[1])
        assert store.sha256_of(disk / "home" / "blobs" / largest.sha256) == largest.sha256


def runners_of(home: Path) -> list[int]:
    """The processes that run from the device's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if re.search(rb"python", command) and str(home).encode() in command:
                found.append(int(entry.name))
    return found


def _wait_for_a_runner(home: Path, said: Path) -> None:
    until = time.monotonic() + 60
    found = runners_of(home)
    while not found and time.monotonic() < until:
        time.sleep(0.05)
        found = runners_of(home)
    assert found, said.read_text()


def _hear_interrupts() -> None:
    """Undo what a background shell does to its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_is_ended_here_leaves_no_process_behind_ssh(
    sshd: Sshd, tmp_path: Path, number: signal.Signals
) -> None:
    package, home = onnx_package(tmp_path / "package"), tmp_path / "home" / ".edgegen"
    arguments = ["bench", str(package), "--device", sshd.address, "--images", "100000"]
    with (
        (tmp_path / "said").open("wb") as said,
        subprocess.Popen(
            [sys.executable, "-m", "edgegen", *arguments],
            stdout=said,
            stderr=said,
            start_new_session=True,
            preexec_fn=_hear_interrupts,
        ) as process,
    ):
        try:
            _wait_for_a_runner(home, tmp_path / "said")
            process.send_signal(number)
            code = process.wait(timeout=30)
        finally:
            process.kill()
    assert code == (130 if number == signal.SIGINT else -number)
    assert _all_end(home)


def test_a_connection_that_is_killed_here_leaves_no_process_behind_adb(
    android: StandInDevice, tmp_path: Path
) -> None:
    package = onnx_package(tmp_path / "package")
    with Device(adb_transport(android), pack_runner()) as there:
        there.agent.lock("test")
        home = Path(there.agent.root)
        events = _start_endless(there, package)
        pid = next(events).pid  # type: ignore[attr-defined]  # the first event is hello
        assert is_running(pid)
        assert there.agent._child is not None
        os.kill(there.agent._child.pid, signal.SIGKILL)
        events.close()
    assert _all_end(home)


def _start_endless(there: Device, package: Path):  # type: ignore[no-untyped-def]  # a generator
    from edgegen.runner.job import GenerateJob, Request
    from edgegen.runner.session import RunnerSession

    stored = store.push(there, store.shipment(package))
    job = GenerateJob(package=stored.path, request=Request(prompts=("a cat",)), repeat=100_000)
    return RunnerSession(device=there).events(job)


def _all_end(home: Path, within_s: float = 20.0) -> bool:
    until = time.monotonic() + within_s
    while runners_of(home) and time.monotonic() < until:
        time.sleep(0.1)
    return not runners_of(home)
