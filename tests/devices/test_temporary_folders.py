"""A host whose folders for temporary files cannot be used still reaches its devices."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from edgegen.core.process import Child
from edgegen.devices.discovery import look_at, survey
from edgegen.devices.ssh import SshTransport
from edgegen.runner.pack import pack_runner
from tests.devices.sshd import Sshd


@pytest.fixture
def unusable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No folder for temporary files: a file is in the place of each."""
    file = tmp_path / "no-folder"
    file.write_text("")
    monkeypatch.setenv("TMPDIR", str(file))
    monkeypatch.setattr("edgegen.devices.ssh.SYSTEM_FOLDER", file)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(file)])
    return file


def test_the_log_of_a_child_then_lies_in_the_state_folder(unusable: Path) -> None:
    with Child(["sh", "-c", "echo words >&2"]) as child:
        assert child.wait(10) == 0
        assert child.log_tail() == "words"


@pytest.mark.parametrize("state", ["s", "a-state-folder-with-a-name-that-no-socket-can-have" * 2])
def test_a_device_is_reached_all_the_same(
    state: str, unusable: Path, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / state))
    listing = look_at(sshd.address, pack_runner())
    assert not listing.problem
    assert listing.is_ready


def test_a_socket_whose_path_would_be_too_long_is_left_out(
    unusable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / ("x" * 100)))
    transport = SshTransport("ssh://pi@board")
    assert "ControlPath=none" in transport.command()
    assert "ControlMaster=no" in transport.command()
    transport.close()


def test_where_no_folder_at_all_can_be_used_each_device_has_its_row(
    unusable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(unusable / "state"))
    listings = survey(["ssh://pi@one", "ssh://pi@two"], pack_runner())
    assert [listing.address for listing in listings] == ["ssh://pi@one", "ssh://pi@two"]
    assert all("no room for temporary files" in listing.problem for listing in listings)
    assert all("TMPDIR" in listing.hint for listing in listings)
