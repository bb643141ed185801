"""The agent's connection: signs of life, broken requests, a host that goes in the middle."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.core.errors import DeviceError
from edgegen.core.files import sha256_of
from edgegen.devices import agent as agent_module
from edgegen.devices import store
from edgegen.devices.device import Device
from edgegen.runner.deployment import deploy
from edgegen.runner.pack import packed_runner
from tests.devices.conftest import is_running
from tests.devices.stand_ins import OtherMachine, device
from tests.tiny_packages import onnx_package


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def connected(home: Path) -> Iterator[Device]:
    with device(OtherMachine(home)) as found:
        found.agent.lock("test")
        yield found


def blob(folder: Path, size: int) -> tuple[Path, str]:
    path = folder / "blob"
    data = os.urandom(size)
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def wait_for_end(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def test_signs_of_life_never_become_bytes_of_a_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "HEARTBEAT_S", 0.01)
    path, sha256 = blob(tmp_path, 5 << 20)
    with device(OtherMachine(home)) as slow:
        slow.agent.lock("test")
        slow.agent.put(path, sha256, 5 << 20, advance=lambda amount: time.sleep(0.1))
        time.sleep(0.1)
        assert slow.agent.request("status") == {"packages": []}
    assert sha256_of(home / "blobs" / sha256) == sha256


def test_a_request_that_breaks_off_closes_the_connection(connected: Device, tmp_path: Path) -> None:
    path, sha256 = blob(tmp_path, 3 << 20)

    def interrupt(amount: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        connected.agent.put(path, sha256, 3 << 20, advance=interrupt)
    assert not connected.agent.connected
    with pytest.raises(DeviceError, match="closed"):
        connected.agent.request("status")


def test_an_answer_that_is_refused_leaves_the_connection_open(connected: Device) -> None:
    with pytest.raises(DeviceError):
        connected.agent.request("get", path="/etc/passwd")
    assert connected.agent.request("status") == {"packages": []}


def test_a_file_that_cannot_be_written_here_keeps_what_was_there(
    connected: Device, tmp_path: Path
) -> None:
    folder = Path(connected.agent.request("make_run", name="run-1")["path"])
    (folder / "0.png").write_bytes(b"x" * 5_000_000)
    place = tmp_path / "missing" / "0.png"
    with pytest.raises(FileNotFoundError):
        connected.agent.get(str(folder / "0.png"), place, most_bytes=5_000_000)
    assert not connected.agent.connected  # the rest of the file is still on its way


def test_an_agent_whose_host_goes_ends_in_the_middle_of_a_request(
    home: Path,
) -> None:
    sha256 = "ab" * 32
    (home / "blobs").mkdir(parents=True)
    part = home / "blobs" / f"{sha256}.part"
    with part.open("wb") as file:
        file.truncate(3 << 30)  # sparse: hashing it takes seconds, and nothing of the disk
    first = device(OtherMachine(home))
    first.__enter__()
    first.agent.lock("hashing")
    first.agent._send({"request": "put", "sha256": sha256, "size": 3 << 30, "offset": 3 << 30})
    child = first.agent._child
    assert child is not None
    pid = child.pid
    time.sleep(0.3)
    started = time.monotonic()
    first.agent.close()
    assert wait_for_end(pid)
    assert time.monotonic() - started < 2
    with device(OtherMachine(home)) as second:
        second.agent.lock("second")


def test_modules_of_the_users_folder_are_not_taken(home: Path, tmp_path: Path) -> None:
    for name in ("hashlib", "random", "select", "json", "os"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')\n")

    class InAFolderOfModules(OtherMachine):
        def interpreter(self) -> tuple[str, ...]:
            return ("sh", "-c", f'cd {tmp_path}; exec "$0" "$@"', *super().interpreter())

    with device(InAFolderOfModules(home)) as found:
        assert found.facts.runtime is not None


def test_a_file_that_went_bad_on_the_device_is_pushed_again_by_deploy(
    connected: Device, home: Path, tmp_path: Path
) -> None:
    package = onnx_package(tmp_path / "package")
    first = deploy(connected, package)
    cargo = store.shipment(package)
    largest = max(cargo.files, key=lambda file: file.size_bytes)
    bad = home / "blobs" / largest.sha256
    bad.chmod(0o644)
    with bad.open("r+b") as file:
        file.write(b"\xff" * 64)
    again = deploy(connected, package)
    assert again.stored.version == first.stored.version
    assert again.stored.sent_bytes == largest.size_bytes
    current = home / "packages" / first.stored.name / "current"
    assert sha256_of(current / largest.path) == largest.sha256
    assert store.verify(connected, cargo) == 0


def test_a_device_that_does_not_keep_what_is_written_is_reported(
    connected: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.runner.deployment.verify", lambda device, cargo: 1)
    with pytest.raises(DeviceError, match="does not keep"):
        deploy(connected, onnx_package(tmp_path / "package"))


@pytest.mark.parametrize("how", ["input", "kill"])
def test_a_watched_program_ends_with_its_host(tmp_path: Path, how: str) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 60 & echo $! > {tmp_path}/child; wait"
    command = [sys.executable, str(packed_runner()), "--watched", "sh", "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 10
        while not (tmp_path / "child").exists() and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.1)
        pids = [int((tmp_path / name).read_text()) for name in ("pid", "child")]
        assert all(map(is_running, pids))
        assert process.stdin is not None
        if how == "input":
            process.stdin.close()
            assert process.wait(timeout=10) == 4
            assert all(map(wait_for_end, pids))
        else:
            os.kill(pids[0], signal.SIGKILL)
            assert process.wait(timeout=10) == 128 + signal.SIGKILL


def test_a_watched_programs_exit_code_and_output_are_its_own() -> None:
    command = [sys.executable, str(packed_runner()), "--watched", "sh", "-c", "echo out; exit 7"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"out\n"
        assert process.wait(timeout=20) == 7
