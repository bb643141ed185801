"""Bundles and wheels on their way to a device."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from edgegen.core.errors import (
    ConfigError,
    DeviceBusyError,
    DeviceError,
    DeviceFullError,
    MissingDependencyError,
    RunnerError,
)
from edgegen.core.process import Child
from edgegen.devices.agent import NoPythonError
from edgegen.devices.transports import find_python
from edgegen.runner import provision
from edgegen.runner.bundle.build import Bundle
from edgegen.runner.provision import set_up
from edgegen.runner.push_bundle import push_bundle
from tests.devices.stand_ins import CutTransport, OtherMachine, device

FOLDER = "linux-arm64-0123456789ab"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def make_bundle(folder: Path, python: str = f'exec {sys.executable} "$@"') -> Bundle:
    """A bundle whose Python is this one, unless told."""
    archive = folder / "bundle.tar"
    files = {
        "bundle.json": b"{}",
        "python": f"#!/bin/sh\n{python}\n".encode(),
        "lib/large": os.urandom(3_000_000),
    }
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
    data = archive.read_bytes()
    return Bundle(
        platform="linux-arm64",
        runtime="onnxruntime",
        id="0" * 64,
        folder=FOLDER,
        archive=archive,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        python="3.11",
        parts=(),
    )


NUMPY = """\
float32 = None
class ones:
    def __init__(self, *shape): pass
    def __matmul__(self, other): pass
"""
ORT = """\
class InferenceSession:
    def __init__(self, model, providers): pass
    def run(self, outputs, inputs): pass
"""
"""As much of numpy and of onnxruntime as is tried on a device."""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path)


def push(transport: OtherMachine, bundle: Bundle) -> int:
    from edgegen.core.progress import SilentProgress

    return push_bundle(transport, bundle, SilentProgress())


def test_a_bundle_is_unpacked_and_used(home: Path, bundle: Bundle) -> None:
    transport = OtherMachine(home)
    assert push(transport, bundle) == bundle.size_bytes
    assert (home / "runtime").resolve() == home / "runtimes" / FOLDER
    assert not list((home / "runtimes").glob(".*"))
    assert push(transport, bundle) == 0
    with device(transport) as found:
        runtime = found.facts.runtime
        assert runtime is not None
        assert runtime.own
        assert runtime.command[1] == str(home / "runtime" / "python")


def test_a_bundle_that_was_cut_goes_on_where_it_was(home: Path, bundle: Bundle) -> None:
    transport = CutTransport(home, 1_000_000)
    with pytest.raises(DeviceError, match="gone"):
        push(transport, bundle)
    (part,) = (home / "runtimes").glob(".*.tar")
    came = part.stat().st_size
    assert 900_000 < came <= 1_000_000
    transport.after_bytes = None
    assert push(transport, bundle) == bundle.size_bytes - came
    assert (home / "runtime" / "lib" / "large").stat().st_size == 3_000_000


def test_a_bundle_whose_part_went_bad_is_sent_anew(home: Path, bundle: Bundle) -> None:
    (home / "runtimes").mkdir(parents=True)
    (home / "runtimes" / f".{FOLDER}.tar").write_bytes(b"\0" * 2_000_000)
    with pytest.raises(Exception, match="did not come whole"):
        push(OtherMachine(home), bundle)
    assert push(OtherMachine(home), bundle) == bundle.size_bytes


def test_a_bundle_finds_its_modules_by_the_folders_that_its_launcher_sets(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(sys._base_executable)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    numpys = sysconfig.get_path("purelib"), Path(numpy.__file__).parents[1]
    launcher = f'export PYTHONPATH={":".join(map(str, numpys))}; exec {bare} -S "$@"'
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    transport = OtherMachine(home)
    push(transport, make_bundle(tmp_path, launcher))
    with device(transport) as found:
        runtime = found.look_again(tried=True).runtime
        assert runtime is not None
        assert (runtime.own, runtime.bundle, runtime.faults) == (True, True, ())
    started = subprocess.run(
        [*find_python(str(home)), "-c", "import sys, numpy; print(sys.flags.isolated)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert started.stdout.splitlines() == ["shell", "0"]


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("echo /x/ld-linux-aarch64.so.1: Exec format error >&2; exit 126", "Exec format error"),
        (f"{sys.executable} -c 'import no_numpy'", "No module named 'no_numpy'"),
        ("kill -ILL $$", ""),
    ],
)
def test_a_bundle_that_does_not_start_never_becomes_current(
    home: Path, tmp_path: Path, python: str, says: str
) -> None:
    (home / "runtimes" / "before").mkdir(parents=True)
    (home / "runtimes" / "before" / "python").write_text(f'exec {sys.executable} "$@"\n')
    (home / "runtime").symlink_to("runtimes/before")
    with pytest.raises(DeviceError, match="doesn't start") as caught:
        push(OtherMachine(home), make_bundle(tmp_path, python))
    assert says in caught.value.message
    assert (home / "runtime").readlink().name == "before"
    assert [path.name for path in (home / "runtimes").iterdir()] == ["before"]
    with device(OtherMachine(home)) as found:
        assert found.facts.runtime is not None
        assert found.facts.runtime.own


def test_a_bundle_that_broke_on_the_device_is_replaced_by_the_next_setup(
    home: Path, bundle: Bundle
) -> None:
    transport = OtherMachine(home)
    push(transport, bundle)
    (home / "runtime" / "python").write_text("exit 1\n")
    (home / "runtimes" / ".another-0.tar").write_bytes(b"half of another")
    assert push(transport, bundle) == bundle.size_bytes
    assert (home / "runtime" / "python").read_text().endswith('"$@"\n')
    assert not (home / "runtimes" / ".another-0.tar").exists()
    assert push(transport, bundle) == 0


def test_names_of_a_bundle_and_a_home_are_never_commands(tmp_path: Path, bundle: Bundle) -> None:
    marks = "a b$(touch evil)'\";touch evil;"
    home = tmp_path / marks
    push(OtherMachine(home), bundle)
    assert (home / "runtime").resolve() == home / "runtimes" / FOLDER
    with pytest.raises(DeviceError):
        push(OtherMachine(home), dataclasses.replace(bundle, runtime="sys;__import__('x')"))
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "answer", ["need -1 5", "need 1e9", "need ² 5", "need", "need 99999999999", "x"]
)
def test_what_a_device_says_of_its_part_is_checked(home: Path, bundle: Bundle, answer: str) -> None:
    class Odd(OtherMachine):
        def start(self, arguments: Sequence[str], **options: Any) -> Child:
            return super().start(["sh", "-c", f"echo '{answer}'; cat >/dev/null"], **options)

    with pytest.raises(DeviceError):
        push(Odd(home), bundle)


def test_a_bundle_is_not_pushed_to_a_device_that_is_in_use(home: Path, bundle: Bundle) -> None:
    with device(OtherMachine(home)) as first:
        first.agent.lock("bench")
        with pytest.raises(DeviceBusyError):
            push(OtherMachine(home), bundle)
    push(OtherMachine(home), bundle)


def test_too_little_room_for_a_bundle_is_found_before_it_travels(
    home: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.runner.push_bundle._UNPACKED", 1e9)
    with pytest.raises(DeviceFullError, match="the bundle needs"):
        push(OtherMachine(home), bundle)
    assert not list((home / "runtimes").iterdir())


def wheel(folder: Path, name: str, version: str, body: str) -> None:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", body)
        info = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", info)
        archive.writestr("../outside.py", "raise SystemExit('never')\n")


def provision_wheels(home: Path, wheels: Path) -> None:
    from edgegen.core.progress import SilentProgress

    with device(OtherMachine(home)) as there:
        provision._from_wheels(there, wheels, SilentProgress())


def test_wheels_of_a_folder_become_an_environment_of_the_devices_own(
    home: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "numpy", "9.9", NUMPY)
    wheel(wheels, "onnxruntime", "9.8", ORT)
    with pytest.raises(RunnerError, match="numpy"):  # the runner wants a real one
        provision_wheels(home, wheels)
    assert (home / "runtime" / "python").is_file()
    assert not list(home.rglob("outside.py"))
    with device(OtherMachine(home)) as there:
        runtime = there.facts.runtime
        assert runtime is not None
        assert runtime.own
        assert dict(runtime.packages) == {"numpy": "9.9", "onnxruntime": "9.8"}


def test_wheels_that_cannot_be_imported_leave_the_runtime_as_it_was(
    home: Path, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    said = "libstdc++.so.6: cannot open shared object file: No such file or directory"
    wheel(wheels, "numpy", "9.9", f"raise ImportError({said!r})\n")
    wheel(wheels, "onnxruntime", "9.8", "")
    with pytest.raises(MissingDependencyError, match="libstdc"):
        provision_wheels(home, wheels)
    assert not (home / "runtime").exists()


def test_a_folder_without_the_right_wheels_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no wheels of numpy"):
        provision_wheels(home, tmp_path)


def test_this_machine_is_not_set_up() -> None:
    with pytest.raises(ConfigError, match="leaves alone"):
        set_up("local")


def test_a_device_without_python_and_no_arm_is_told_what_to_install(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bare(OtherMachine):
        def interpreter(self) -> tuple[str, ...]:
            return ("sh", "-c", "exit 127", "python3")

    with pytest.raises(NoPythonError), device(Bare(home)):
        pass
    monkeypatch.setattr(provision, "open_transport", lambda address, root: Bare(home))
    with pytest.raises(Exception, match="there is no bundle") as caught:
        set_up("ssh://stand-in")
    assert "apt install python3" in caught.value.hint  # type: ignore[attr-defined]  # ours


def test_a_shell_that_does_not_tell_its_path_is_no_noexec(
    home: Path, bundle: Bundle, tmp_path: Path
) -> None:
    class Busybox(OtherMachine):
        """Its shell calls itself `sh`, where others tell a path."""

        def start(self, arguments: Sequence[str], **options: Any) -> Child:
            script = arguments[2].replace("$(command -v sh)", "sh")
            assert script != arguments[2]
            return super().start([*arguments[:2], script, *arguments[3:]], **options)

    assert push(Busybox(home), bundle) == bundle.size_bytes
