from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegen.core.errors import ConfigError, IntegrityError, ResourceError
from edgegen.core.files import inside, sha256_of, staged_folder, write_atomic


def build(destination: Path, content: str, *, replace: bool = False) -> None:
    with staged_folder(destination, replace=replace) as staging:
        (staging / "a.txt").write_text(content)
        (staging / "b").mkdir()
        (staging / "b" / "c.txt").write_text(content)


def content_of(destination: Path) -> str:
    """Return the content of a whole folder; a mixture of two is a failure."""
    assert sorted(path.name for path in destination.rglob("*")) == ["a.txt", "b", "c.txt"]
    first, second = (destination / name for name in ("a.txt", "b/c.txt"))
    assert first.read_text() == second.read_text()
    return first.read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    destination = tmp_path / "made" / "package"
    with staged_folder(destination, replace=False) as staging:
        (staging / "a.txt").write_text("1")
        assert not destination.exists()
    assert names(destination) == ["a.txt"]
    assert names(tmp_path / "made") == ["package"]


def fail_while_building(destination: Path, error: BaseException) -> None:
    with staged_folder(destination, replace=True) as staging:
        (staging / "a.txt").write_text("new")
        raise error


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt(), SystemExit(143)])
def test_an_error_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        fail_while_building(tmp_path / "package", error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt(), SystemExit(143)])
def test_an_error_leaves_what_was_there(error: BaseException, tmp_path: Path) -> None:
    build(tmp_path / "package", "old")
    with pytest.raises(type(error)):
        fail_while_building(tmp_path / "package", error)
    assert content_of(tmp_path / "package") == "old"
    assert names(tmp_path) == ["package"]


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_what_is_there_is_not_replaced_unasked(kind: str, tmp_path: Path) -> None:
    destination = tmp_path / "package"
    if kind == "folder":
        destination.mkdir()
    elif kind == "file":
        destination.write_text("mine")
    else:
        destination.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="exists"), staged_folder(destination, replace=False):
        pytest.fail("the work began")
    assert names(tmp_path) == ["package"]


def make_another_meanwhile(destination: Path) -> None:
    with staged_folder(destination, replace=False) as staging:
        (staging / "a.txt").write_text("mine")
        destination.mkdir()
        (destination / "theirs.txt").touch()


def test_a_folder_that_was_made_meanwhile_is_kept(tmp_path: Path) -> None:
    destination = tmp_path / "package"
    with pytest.raises(ConfigError, match="meanwhile"):
        make_another_meanwhile(destination)
    assert names(destination) == ["theirs.txt"]
    assert names(tmp_path) == ["package"]


def test_a_folder_is_replaced_when_asked(tmp_path: Path) -> None:
    build(tmp_path / "package", "old")
    build(tmp_path / "package", "new", replace=True)
    assert content_of(tmp_path / "package") == "new"
    assert names(tmp_path) == ["package"]


def test_a_folder_is_replaced_where_the_system_cannot_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    build(tmp_path / "package", "old")
    build(tmp_path / "package", "new", replace=True)
    assert content_of(tmp_path / "package") == "new"
    assert names(tmp_path) == ["package"]


def test_the_old_folder_is_there_until_the_new_one_is_whole(tmp_path: Path) -> None:
    destination = tmp_path / "package"
    build(destination, "old")
    with staged_folder(destination, replace=True) as staging:
        (staging / "a.txt").write_text("new")
        assert content_of(destination) == "old"
        (staging / "b").mkdir()
        (staging / "b" / "c.txt").write_text("new")
    assert content_of(destination) == "new"


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".edgegen-package-0badcafe"
    left.mkdir()
    (left / "half.bin").write_bytes(b"x")
    left.with_name(left.name + ".lock").touch()
    (tmp_path / ".edgegen-package-dead0000.lock").touch()
    build(tmp_path / "package", "1")
    assert names(tmp_path) == ["package"]


def test_what_a_living_run_builds_is_kept(tmp_path: Path) -> None:
    living = tmp_path / ".edgegen-package-0badcafe"
    living.mkdir()
    with living.with_name(living.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        build(tmp_path / "package", "1")
    assert living.is_dir()


@pytest.mark.parametrize("name", ["other", "package2", "pack"])
def test_what_was_left_of_other_folders_is_kept(name: str, tmp_path: Path) -> None:
    left = tmp_path / f".edgegen-{name}-0badcafe"
    left.mkdir()
    build(tmp_path / "package", "1")
    assert left.is_dir()


def test_letters_of_a_pattern_in_a_name_are_letters(tmp_path: Path) -> None:
    other = tmp_path / ".edgegen-package-0badcafe"
    other.mkdir()
    build(tmp_path / "p*[a-z]?", "1")
    assert other.is_dir()


def test_a_link_that_looks_like_staging_is_removed_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").touch()
    (tmp_path / ".edgegen-package-0badcafe").symlink_to(target)
    build(tmp_path / "package", "1")
    assert names(target) == ["file"]


def build_on_a_full_disk(destination: Path) -> None:
    with staged_folder(destination, replace=False) as staging:
        (staging / "a.txt").write_text("1")
        (staging / "weights").symlink_to("/dev/full")  # the kernel says ENOSPC
        (staging / "weights").write_bytes(b"x" * 100_000)


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="is full") as raised:
        build_on_a_full_disk(tmp_path / "package")
    assert raised.value.hint
    assert names(tmp_path) == []


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


def test_a_folder_that_may_not_be_written_is_named() -> None:
    with pytest.raises(ResourceError, match="/sys cannot be written"):
        build(Path("/sys/package"), "1")  # not even by root


def test_a_place_below_a_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((ConfigError, ResourceError)) as raised:
        build(tmp_path / "file" / "package", "1")
    assert raised.value.hint


def test_an_error_of_another_place_is_not_blamed_on_the_destination(tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied", "/elsewhere/model.safetensors")
    with pytest.raises(PermissionError, match="elsewhere"):
        fail_while_building(tmp_path / "package", denied)
    assert names(tmp_path) == []


BUILDER = """
import sys
from pathlib import Path
from edgegen.core.files import staged_folder
destination, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    with staged_folder(destination, replace=True) as staging:
        (staging / "a.txt").write_text(str(number))
        (staging / "b").mkdir()
        (staging / "b" / "c.txt").write_text(str(number))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def builder(destination: Path, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(destination), str(first), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_kill_at_any_moment_leaves_a_whole_folder(tmp_path: Path) -> None:
    destination = tmp_path / "package"
    build(destination, "0")
    moments = random.Random(20)
    for attempt in range(20):
        child = builder(destination, 1000 * attempt, 10**6)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(moments.uniform(0, 0.03))
            child.send_signal(signal.SIGKILL)
        content_of(destination)
    build(destination, "last", replace=True)
    assert content_of(destination) == "last"
    assert names(tmp_path) == ["package"]


def test_builders_of_the_same_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    destination = tmp_path / "package"
    children = [builder(destination, 1000 * number, 40) for number in range(3)]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (0, "")
    assert int(content_of(destination)) % 1000 == 39
    assert names(tmp_path) == ["package"]


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
