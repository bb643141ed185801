from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import IntegrityError, ResourceError
from edgegen.core.files import file_names, inside, sha256_of, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "edgegen.json"
    write_atomic(path, "old")
    with largest_file(1000), pytest.raises(ResourceError):
        write_atomic(path, "x" * 2000)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["edgegen.json"]


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "edgegen.json"
    write_atomic(path, "old")
    before = path.stat().st_ino
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before


def test_a_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    data = bytes(range(256)) * 40_000
    path.write_bytes(data)
    assert sha256_of(path) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("relative", ["unet/model.onnx", "a", "a/./b", "a..b/..c", "ünet/モデル"])
def test_a_path_inside_is_taken(relative: str, tmp_path: Path) -> None:
    assert inside(tmp_path, relative).is_relative_to(tmp_path)


@pytest.mark.parametrize(
    "relative",
    [
        *("", ".", "/", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "//server/share"),
        *("a\\..\\..\\x", "C:\\x", "C:x", "C:/x", "a\0b", "\\\\server\\share"),
    ],
)
def test_a_path_that_leaves_is_refused(relative: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="leaves the folder"):
        inside(tmp_path, relative)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "package"
    root.mkdir()
    (tmp_path / "secret").touch()
    (root / "out").symlink_to(tmp_path)
    (root / "file").symlink_to(tmp_path / "secret")
    for relative in ("out/secret", "file", "out"):
        with pytest.raises(IntegrityError):
            inside(root, relative)


def test_a_link_that_stays_inside_is_taken(tmp_path: Path) -> None:
    (tmp_path / "blob").touch()
    (tmp_path / "model.onnx").symlink_to("blob")
    assert inside(tmp_path, "model.onnx") == tmp_path / "model.onnx"


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "", " ", "~"]), max_size=6))
def test_no_path_leaves_the_folder(parts: list[str]) -> None:
    root = Path("/nonexistent/package")
    try:
        path = inside(root, "/".join(parts))
    except IntegrityError:
        return
    assert path.resolve().is_relative_to(root)
    assert path != root


def test_what_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "evidence.json"
    dead, living = (tmp_path / f".edgegen-evidence.json-{name}" for name in ("dead", "living"))
    pipe = tmp_path / ".edgegen-evidence.json-pipe"
    os.mkfifo(pipe)
    dead.touch()
    with living.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_atomic(path, "new")
        assert names(tmp_path) == sorted(it.name for it in (living, pipe, path))
    write_atomic(path, "newer")
    assert names(tmp_path) == [pipe.name, path.name]


def test_a_file_is_never_written_through_a_link_that_somebody_has_put_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda _: "0123")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".edgegen-file-0123").symlink_to("victim")
    with pytest.raises(ResourceError):
        write_atomic(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("scenes-4step, onnx int8, 4 steps, 64×64", "scenes-4step-onnx-int8-4-steps-64x64"),
        ("./a", "a"),
        ("/../../evil", "evil"),
        ("choice-tiny-/../../evil", "choice-tiny--..-..-evil"),
        (".hidden\0\n", "hidden"),
    ],
)
def test_a_file_is_called_after_a_text(text: str, name: str) -> None:
    assert file_names([text]) == (name,)


def test_names_of_different_texts_differ_and_stay_the_same() -> None:
    texts = ["./a/b", "./a-b", "A-B", "c", "c", "..", "x" * 5000, "字" * 300]
    names = file_names(texts)
    assert len(set(map(str.casefold, names))) == len(texts) - 1
    assert names[3] == names[4] == "c"
    assert all(0 < len(name.encode()) < 200 and not name.startswith(".") for name in names)
    assert not any("/" in name for name in names)
    assert file_names(texts) == names
