from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegen.core.regular_files import NotRegularError, copy_regular, open_regular


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "kind"),
    [(pipe, "a pipe"), (listening, "a socket"), (device, "a device"), (folder, "a folder")],
)
def test_what_is_no_file_is_named_and_not_waited_for(
    make: Callable[[Path], None], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("entry"))
    with pytest.raises(NotRegularError, match=f"it is {kind}, not a file"):
        open_regular(Path("entry"))


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"x"


def test_what_is_not_there_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "file")


def test_a_link_is_followed_within_the_folders_that_are_given(tmp_path: Path) -> None:
    """As in the hub's cache, where a snapshot's files are links to blobs."""
    blobs, model, outside = tmp_path / "blobs", tmp_path / "snapshots/1", tmp_path / "outside"
    for each in (blobs, model, outside):
        each.mkdir(parents=True)
    (blobs / "0123").write_text("config")
    (outside / "secret").write_text("secret")
    (model / "config.json").symlink_to("../../blobs/0123")
    (model / "LICENSE").symlink_to("../../outside/secret")
    (model / "tokenizer").symlink_to(outside)
    with open_regular(model / "config.json", roots=(model, blobs)) as file:
        assert file.read() == b"config"
    for name in ("LICENSE", "tokenizer/secret"):
        with pytest.raises(NotRegularError, match="leads out"):
            open_regular(model / name, roots=(model, blobs))
    with open_regular(model / "LICENSE") as file:  # where any place will do
        assert file.read() == b"secret"


def test_a_folder_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("x")
    (tmp_path / "link").symlink_to("real")
    with open_regular(tmp_path / "link/file", roots=(tmp_path / "link",)) as file:
        assert file.read() == b"x"


def test_a_copy_never_replaces_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("new")
    copy_regular(tmp_path / "source", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "new"
    with pytest.raises(FileExistsError):
        copy_regular(tmp_path / "source", tmp_path / "copy")
