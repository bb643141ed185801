"""The folder on a device that the user chooses, and file systems that cannot hold one."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from edgegen.cli.main import run as edgegen
from edgegen.core.errors import ConfigError, DeviceError
from edgegen.core.process import run
from edgegen.devices import store
from edgegen.devices.known import forget, known, remember, remembered_root
from edgegen.devices.transports import open_transport
from edgegen.runner import provision
from edgegen.runner.bundle.build import Bundle
from edgegen.runner.provision import set_up
from tests.devices.small_disk import small_disk
from tests.devices.sshd import Sshd
from tests.devices.stand_ins import OtherMachine, device
from tests.runner.test_provision import bundle, push, wheel
from tests.tiny_packages import onnx_package

__all__ = ["bundle"]

ADDRESS = "ssh://pi@board"


def test_a_folder_is_chosen_by_option_then_variable_then_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert open_transport(ADDRESS).home == "~/.edgegen"
    remember(ADDRESS, "/mnt/ssd/edgegen")
    assert open_transport(ADDRESS).home == "/mnt/ssd/edgegen"
    assert open_transport("ssh://pi@other").home == "~/.edgegen"
    monkeypatch.setenv("EDGEGEN_ROOT", "/opt/edgegen/")
    assert open_transport(ADDRESS).home == "/opt/edgegen"
    assert open_transport("adb://serial").home == "/opt/edgegen"
    assert "edgegen/device" in open_transport("local").home or open_transport("local").home
    assert open_transport("local").home != "/opt/edgegen"  # that is not a device of its own
    assert open_transport(ADDRESS, "~/elsewhere").home == "~/elsewhere"


def test_what_was_remembered_stays_until_the_device_is_forgotten() -> None:
    remember(ADDRESS, "/mnt/ssd/edgegen")
    remember("ssh://pi@other")
    remember(ADDRESS)
    assert known() == (ADDRESS, "ssh://pi@other")
    assert remembered_root(ADDRESS) == "/mnt/ssd/edgegen"
    assert forget(ADDRESS)
    assert remembered_root(ADDRESS) is None
    assert known() == ("ssh://pi@other",)


@pytest.mark.parametrize("root", ["", "edgegen", "~", "/", "~user/x", "/a\nb", "~/", "//", "-x"])
def test_what_is_no_folder_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match="no folder for edgegen") as caught:
        open_transport(ADDRESS, root)
    assert "/mnt/ssd/edgegen" in caught.value.hint


@pytest.mark.parametrize("name", ["it's a $HOME ü", "~/below home"])
def test_every_command_uses_the_folder_and_the_next_one_remembers_it(
    name: str, sshd: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = name if name.startswith("~/") else str(tmp_path / name)
    there = tmp_path / "home" / name[2:] if name.startswith("~/") else tmp_path / name
    package = str(onnx_package(tmp_path / "package"))
    assert edgegen(["deploy", package, "--device", sshd.address, "--root", root, "--json"]) == 0
    deployed = json.loads(capsys.readouterr().out)
    assert Path(deployed["stored"]["path"]).is_relative_to(there)
    assert edgegen(["status", "--device", sshd.address, "--json"]) == 0
    (stored,) = json.loads(capsys.readouterr().out)["packages"]
    assert Path(stored["path"]).is_relative_to(there)
    assert edgegen(["devices", "show", sshd.address]) == 0
    assert not (tmp_path / "home" / ".edgegen").exists()
    assert edgegen(["prune", "--device", sshd.address, "--root", str(tmp_path / "third")]) == 0
    assert (tmp_path / "third").is_dir()


def noexec(folder: Path) -> None:
    run(["mount", "-o", "remount,noexec", str(folder)], timeout_s=10)


def test_a_folder_that_is_mounted_noexec_is_seen_before_wheels_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "numpy", "9.9", "")
    wheel(wheels, "onnxruntime", "9.8", "")
    with small_disk(tmp_path / "disk", 128 << 20) as disk:
        noexec(disk)
        transport = OtherMachine(disk / "home")
        monkeypatch.setattr(provision, "open_transport", lambda address, root: transport)
        with pytest.raises(DeviceError, match="mounted noexec") as caught:
            set_up(transport.address, wheels=wheels)
        assert "--root /var/tmp/edgegen" in caught.value.hint
        assert not (disk / "home" / "blobs").exists()
        assert not (disk / "home" / "runtimes").exists()
        with device(transport) as there:  # the board's own Python can still run packages from it
            there.agent.lock("test")
            store.push(there, store.shipment(onnx_package(tmp_path / "package")))


def test_a_folder_that_is_mounted_noexec_is_seen_before_a_bundle_travels(
    tmp_path: Path, bundle: Bundle
) -> None:
    with small_disk(tmp_path / "disk", 128 << 20) as disk:
        noexec(disk)
        with pytest.raises(DeviceError, match="mounted noexec"):
            push(OtherMachine(disk / "home"), bundle)
        assert not list((disk / "home" / "runtimes").iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_a_file_system_without_links_answers_is_understood(
    number: int, tmp_path: Path
) -> None:
    refuses = tmp_path / "sitecustomize.py"
    refuses.write_text(
        "import os\n"
        f"def refuse(*arguments, **more): raise OSError({number}, 'no links here')\n"
        "os.symlink = os.link = refuse\n"
    )

    class NoLinks(OtherMachine):
        def interpreter(self) -> tuple[str, ...]:
            return ("env", f"PYTHONPATH={tmp_path}", *super().interpreter())

    package = onnx_package(tmp_path / "package")
    with device(NoLinks(tmp_path / "home")) as there:
        there.agent.lock("test")
        with pytest.raises(DeviceError, match="without links") as caught:
            store.push(there, store.shipment(package))
    assert "--root" in caught.value.hint
    assert not (tmp_path / "home" / "blobs").exists()
