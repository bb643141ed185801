"""The ways to a device, each with a stand-in that speaks the real protocol."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.devices.adb import AdbTransport
from edgegen.devices.local import LocalTransport
from edgegen.devices.ssh import SshTransport
from edgegen.devices.transports import TRANSPORTS, Transport
from tests.devices.adb_server import ADB, AdbServer
from tests.devices.adb_standin import StandInDevice
from tests.devices.sshd import Sshd, needs_sshd

PYTHON_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A loopback sshd, and the environment that leads edgegen's ssh to it."""
    needs_sshd()
    environment = {"PATH": PYTHON_PATH}
    with Sshd(tmp_path / "sshd", home=tmp_path / "home", environment=environment) as running:
        monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {running.ssh_config}")
        yield running


@pytest.fixture
def android(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInDevice]:
    """A stand-in Android device behind a private adb server; its shell is this machine's."""
    if ADB is None:
        pytest.skip("no adb here: apt-get install adb")
    storage = tmp_path / "storage"
    storage.mkdir()
    device = StandInDevice(storage=storage, environment={"PATH": PYTHON_PATH, "HOME": str(storage)})
    with AdbServer(tmp_path / "adb") as server, device:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.connect(device)
        yield device


def adb_transport(device: StandInDevice) -> AdbTransport:
    return AdbTransport(f"adb://{device.serial}", home=str(device.storage / "edgegen"))


@pytest.fixture(params=sorted(TRANSPORTS))
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """Each transport of the table, to a device that is there."""
    found: Transport
    if request.param == "local":
        found = LocalTransport()
    elif request.param == "ssh":
        found = SshTransport(request.getfixturevalue("sshd").address)
    elif request.param == "adb":
        found = adb_transport(request.getfixturevalue("android"))
    else:
        raise AssertionError(f"{request.param} is a new transport: give it a stand-in here")
    yield found
    found.close()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"
