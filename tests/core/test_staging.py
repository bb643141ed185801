from __future__ import annotations

import errno
import fcntl
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgegen.core import staging
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.staging import staged_folder


def build(destination: Path, content: str, *, replace: bool = False) -> None:
    with staged_folder(destination, replace=replace) as place:
        (place / "a.txt").write_text(content)
        (place / "b").mkdir()
        (place / "b" / "c.txt").write_text(content)


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
    with staged_folder(destination, replace=False) as place:
        (place / "a.txt").write_text("1")
        assert not destination.exists()
    assert names(destination) == ["a.txt"]
    assert names(tmp_path / "made") == ["package"]


def fail_while_building(destination: Path, error: BaseException) -> None:
    with staged_folder(destination, replace=True) as place:
        (place / "a.txt").write_text("new")
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
    with staged_folder(destination, replace=False) as place:
        (place / "a.txt").write_text("mine")
        destination.mkdir()
        (destination / "theirs.txt").touch()


def test_a_folder_that_was_made_meanwhile_is_kept(tmp_path: Path) -> None:
    destination = tmp_path / "package"
    (tmp_path / "package-2").mkdir()
    with pytest.raises(ConfigError, match=r"package exists\. .* is now .*/package-3") as raised:
        make_another_meanwhile(destination)
    assert str(destination) in raised.value.hint
    assert names(destination) == ["theirs.txt"]
    assert names(tmp_path / "package-3") == ["a.txt"]
    assert names(tmp_path) == ["package", "package-2", "package-3"]


def only_empty_or_old(path: Path) -> None:
    if not {*names(path)} <= {"a.txt", "b"}:
        raise ConfigError(f"{path} holds something else.")


@pytest.mark.parametrize("moment", ["while it is made", "while it is exchanged"])
@pytest.mark.parametrize("there", ["nothing", "an empty folder", "what may be replaced"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_files_that_come_to_the_place_meanwhile_are_kept(
    moment: str, there: str, platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user saves into a folder that looks finished, or another run has put a package there."""
    monkeypatch.setattr("sys.platform", platform)
    destination = tmp_path / "package"
    if there != "nothing":
        destination.mkdir()
    if there == "what may be replaced":
        (destination / "a.txt").write_text("old")

    def save() -> None:
        destination.mkdir(exist_ok=True)
        (destination / "thesis.txt").write_text("years of work")

    if moment == "while it is exchanged":
        exchange, saved = staging._exchange, []

        def save_and_exchange(new: Path, old: Path) -> None:
            if not saved and old.exists():
                saved.append(save())
            exchange(new, old)

        monkeypatch.setattr(staging, "_exchange", save_and_exchange)

    def build_it() -> None:
        with staged_folder(destination, check=only_empty_or_old) as place:
            (place / "a.txt").write_text("new")
            if moment == "while it is made":
                save()

    if there == "nothing" and moment == "while it is exchanged":
        build_it()  # nothing is exchanged
        assert names(tmp_path) == ["package"]
        return
    with pytest.raises(ConfigError, match="holds something else"):
        build_it()
    assert (destination / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "package-2" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["package", "package-2"]


def test_a_place_that_may_not_be_replaced_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "thesis.txt").touch()
    with (
        pytest.raises(ConfigError, match="something else"),
        staged_folder(tmp_path / "package", check=only_empty_or_old),
    ):
        pytest.fail("the work began")
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
    with staged_folder(destination, replace=True) as place:
        (place / "a.txt").write_text("new")
        assert content_of(destination) == "old"
        (place / "b").mkdir()
        (place / "b" / "c.txt").write_text("new")
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
    with staged_folder(destination, replace=False) as place:
        (place / "a.txt").write_text("1")
        (place / "weights").symlink_to("/dev/full")  # the kernel says ENOSPC
        (place / "weights").write_bytes(b"x" * 100_000)


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="is full") as raised:
        build_on_a_full_disk(tmp_path / "package")
    assert raised.value.hint
    assert names(tmp_path) == []


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
from edgegen.core.staging import staged_folder
destination, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    with staged_folder(destination, replace=True) as place:
        (place / "a.txt").write_text(str(number))
        (place / "b").mkdir()
        (place / "b" / "c.txt").write_text(str(number))
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
