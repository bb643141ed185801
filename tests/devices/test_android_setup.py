"""Setting up Android devices, by the real adb: they are asked before anything is built or sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import ConfigError, DeviceUnreachableError, MissingDependencyError
from edgegen.devices.adb import AdbTransport
from edgegen.devices.agent import NoPythonError
from edgegen.devices.device import Device
from edgegen.devices.discovery import look_at
from edgegen.runner import provision
from edgegen.runner.pack import pack_runner
from edgegen.runner.provision import set_up
from tests.devices.adb_server import ADB, AdbServer
from tests.devices.adb_standin import Banner, StandInDevice
from tests.runner.test_bundle import tiny_build  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(ADB is None, reason="no adb here: apt-get install adb")

PIXEL = (Path(__file__).parent / "recorded" / "android" / "getprop_pixel_8_pro.txt").read_text()
EMULATOR = """\
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.kernel.qemu]: [1]
[ro.product.cpu.abilist]: [x86_64]
[ro.product.model]: [sdk_gphone64_x86_64]
"""
TV_BOX = """\
[ro.build.version.release]: [9]
[ro.build.version.sdk]: [28]
[ro.product.cpu.abilist]: [armeabi-v7a,armeabi]
[ro.product.model]: [MXQ Pro 4K]
"""
MARSHMALLOW = """\
[ro.build.version.release]: [6.0.1]
[ro.build.version.sdk]: [23]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a]
"""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a context manager of a device that has properties, and no Python."""
    with AdbServer(tmp_path / "adb") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)

        @contextmanager
        def playing(properties: str, **banner: tuple[str, ...]) -> Iterator[StandInDevice]:
            (tmp_path / "properties").write_text(properties)
            programs = {
                "getprop": f"exec /bin/cat {tmp_path}/properties\n",
                **dict.fromkeys(("python3", "python"), "exit 127\n"),
                **{f"python3.{minor}": "exit 127\n" for minor in range(9, 15)},
            }
            phone = StandInDevice(
                storage=tmp_path / "storage", programs=programs, banner=Banner(**banner)
            )
            phone.storage.mkdir()
            with phone:
                server.connect(phone)
                yield phone

        yield playing


@pytest.fixture
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*args: object, **options: object) -> None:
        raise AssertionError("a bundle is built before the device was asked")

    monkeypatch.setattr(provision, "build_bundle", build)


@pytest.mark.usefixtures("_nothing_is_built")
@pytest.mark.parametrize(
    ("properties", "says"),
    [
        (EMULATOR, "an emulator for x86_64"),
        (TV_BOX, "for armeabi-v7a, armeabi"),
        (MARSHMALLOW, "Android 6.0.1 (SDK 23)"),
    ],
    ids=["emulator", "tv box", "android 6"],
)
def test_a_device_that_no_bundle_runs_on_is_refused_in_a_second(
    play: Callable[..., Any], properties: str, says: str
) -> None:
    with play(properties) as phone:
        address = f"adb://{phone.serial}"
        started = time.monotonic()
        with pytest.raises(MissingDependencyError) as caught:
            set_up(address)
        assert time.monotonic() - started < 5
        assert says in caught.value.message
        assert list(phone.storage.iterdir()) == []
        listing = look_at(address, pack_runner())
    assert says in listing.problem
    assert listing.lacks == ()  # no `setup` is proposed, which would be refused


@pytest.mark.usefixtures("_nothing_is_built")
def test_a_serial_that_is_not_there_is_refused_in_a_second(play: Callable[..., Any]) -> None:
    with play(PIXEL):
        started = time.monotonic()
        for job in (lambda: set_up("adb://NOPE"), lambda: _connect("adb://NOPE")):
            with pytest.raises(DeviceUnreachableError, match="knows no device NOPE"):
                job()
        assert time.monotonic() - started < 5


def _connect(address: str) -> None:
    with Device(AdbTransport(address), pack_runner()):
        pass


def test_an_adb_that_tells_no_exit_codes_is_refused_by_every_command(
    play: Callable[..., Any],
) -> None:
    with play(MARSHMALLOW, features=("cmd",)) as phone:
        address = f"adb://{phone.serial}"
        with pytest.raises(MissingDependencyError, match="Android before 7"):
            _connect(address)
        with pytest.raises(MissingDependencyError, match=r"Android 6\.0\.1"):
            set_up(address)
        assert "Android 7" in look_at(address, pack_runner()).problem


def test_a_bundle_for_another_platform_is_refused_before_it_travels(
    play: Callable[..., Any],
    tiny_build: Callable[..., Any],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    bundle = tiny_build(platform="linux-arm64")
    with play(PIXEL) as phone:
        with pytest.raises(ConfigError, match="is for linux-arm64") as caught:
            set_up(f"adb://{phone.serial}", bundle=bundle.archive)
        assert "--platform android-arm64" in caught.value.hint
        assert list(phone.storage.iterdir()) == []


def test_a_bundle_that_cannot_run_is_not_used_and_setup_still_works(
    play: Callable[..., Any],
    tiny_build: Callable[..., Any],  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tiny_build()  # its programs are empty: nothing of it starts anywhere
    monkeypatch.setattr("edgegen.devices.adb.HOME", str(tmp_path / "storage" / "edgegen"))
    with play(PIXEL) as phone:
        address = f"adb://{phone.serial}"
        home = phone.storage / "edgegen"
        transport = AdbTransport(address, home=str(home))
        for _ in range(2):
            with pytest.raises(Exception, match="doesn't start on"):
                provision._set_up(transport, None, bundle.archive, ("onnxruntime",), _silent())
            assert not (home / "runtime").exists()
        with pytest.raises(NoPythonError), Device(transport, pack_runner()):
            pass


def _silent() -> Any:
    from edgegen.core.progress import SilentProgress

    return SilentProgress()
