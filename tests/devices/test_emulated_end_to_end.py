"""What a user types, on an emulated Raspberry Pi over ssh and an emulated phone over adb.

Opt-in: `make test-emulated`. The same image as here, memory and sensors are proved; times are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from edgegen_runner.metrics import psnr_db

from edgegen.cli.main import run
from edgegen.core.codec import load_json
from edgegen.core.measurement import Measurement
from edgegen.devices import adb
from edgegen.runner.png import read_pixels
from tests.devices.adb_server import ADB, AdbServer
from tests.devices.adb_standin import StandInDevice
from tests.devices.android_root import AndroidRoot
from tests.devices.arm64_root import MODEL, arm64_root
from tests.devices.emulation import arm64_programs, needs_emulation
from tests.devices.sshd import Sshd, needs_sshd

pytestmark = pytest.mark.emulated

LEAST_PSNR_DB = 50.0
DRAW = ("--prompt", "pizza", "--seed", "1", "--steps", "2", "--threads", "1")


@pytest.fixture(scope="module", autouse=True)
def _emulation() -> Iterator[None]:
    needs_emulation()
    with arm64_programs():
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", params=["fp32", "fp16-storage"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulated") / request.param
    arguments = ["package", "builtin:emoji", "-t", "onnx", "-r", request.param, "-o", str(folder)]
    assert run(arguments) == 0
    return folder


@pytest.fixture
def raspberry_pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    needs_sshd()
    with Sshd(tmp_path / "pi", root=arm64_root()) as sshd:
        monkeypatch.setenv("EDGEGEN_SSH", f"ssh -F {sshd.ssh_config}")
        yield sshd.address


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if ADB is None:
        pytest.skip("no adb here: apt-get install adb")
    android = AndroidRoot.make(tmp_path / "android")
    device = StandInDevice(storage=android.storage, root=android.root, shell=android.shell)
    with AdbServer(tmp_path / "adb") as server, device:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.connect(device)
        assert adb.HOME.startswith("/data/local/tmp/")
        yield f"adb://{device.serial}"


def check(device: str, package: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Draw and measure there, and compare with this machine."""
    here, there = folder / "here.png", folder / "there.png"
    assert run(["run", str(package), *DRAW, "-o", str(here)]) == 0
    assert run(["run", str(package), *DRAW, "--device", device, "-o", str(there)]) == 0
    reached = psnr_db(read_pixels(here) / 255.0, read_pixels(there) / 255.0)
    assert reached is None or reached >= LEAST_PSNR_DB

    capsys.readouterr()
    raw, page = folder / "raw.json", folder / "page.html"
    arguments = ["bench", str(package), *DRAW, "--device", device]
    arguments += ["--images", "1", "--restarts", "1"]
    assert run([*arguments, "--json-file", str(raw), "--html", str(page)]) == 0
    shown = capsys.readouterr()
    assert "EMULATED" in shown.out
    for word in ("Steady image", "median", "images a minute"):
        assert word not in shown.out
    assert "Peak memory" in shown.out
    found = load_json(Measurement, raw)
    assert found.environment.emulated
    assert found.environment.device == device
    assert found.environment.machine == "aarch64"
    assert found.golden
    assert all(each.passed for each in found.golden)
    (memory,) = (each.memory for each in found.runs if each.memory is not None)
    assert memory.peak_resident_bytes is not None
    assert memory.peak_resident_bytes > 50_000_000
    assert "emulated" in page.read_text().lower()

    assert run(["deploy", str(package), "--device", device, "--json"]) == 0
    deployed = json.loads(capsys.readouterr().out)
    assert deployed["emulated"]
    assert deployed["stored"]["sent_bytes"] == 0  # run and bench had pushed it
    assert run(["status", "--device", device, "--json"]) == 0
    (stored,) = json.loads(capsys.readouterr().out)["packages"]
    assert stored["current"] == deployed["stored"]["version"]


def sensors_of(folder: Path) -> set[str]:
    found = load_json(Measurement, folder / "raw.json")
    return {
        name
        for each in found.runs
        for sample in each.sensors
        for name, value in sample.values.items()
        if value is not None
    }


def test_a_raspberry_pi_draws_the_same_image_and_tells_its_sensors(
    raspberry_pi: str, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "show", raspberry_pi, "--json"]) == 0
    (before,) = json.loads(capsys.readouterr().out)["devices"]
    assert before["model"] == MODEL
    assert before.get("profile") in ("raspberry-pi-5", None)
    assert any("edgegen devices setup" in lack["command"] for lack in before["lacks"])
    assert run(["devices", "setup", raspberry_pi]) == 0
    check(raspberry_pi, package, tmp_path, capsys)
    seen = sensors_of(tmp_path)
    for quantity in ("temperature_c.", "frequency_mhz.", "throttle_flag."):
        assert any(name.startswith(quantity) for name in seen), (quantity, seen)


def test_a_phone_draws_the_same_image_and_tells_its_sensors(
    phone: str, package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["devices", "show", phone, "--json"]) == 0
    (before,) = json.loads(capsys.readouterr().out)["devices"]
    assert any("edgegen devices setup" in lack["command"] for lack in before["lacks"])
    assert run(["bench", str(package), "--device", phone]) == 3
    assert "edgegen devices setup" in capsys.readouterr().err
    assert run(["devices", "setup", phone]) == 0
    check(phone, package, tmp_path, capsys)
    seen = sensors_of(tmp_path)
    for quantity in ("temperature_c.", "thermal_status."):
        assert any(name.startswith(quantity) for name in seen), (quantity, seen)
