"""Folders of one run: private, gone when it ends, and gone soon where it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgegen.core.errors import ResourceError
from edgegen.core.scratch import ScratchFolder, remove_abandoned, utf8_name

HOLD = """\
import sys, time
from pathlib import Path
from edgegen.core.scratch import ScratchFolder
folder = ScratchFolder("test", roots=[Path(sys.argv[1])])
(folder.path / "half").write_text("x")
print(folder.path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def started(root: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_goes_with_its_run(root: Path) -> None:
    with ScratchFolder("test", roots=[root]) as path:
        assert path.parent == root
        assert path.stat().st_mode & 0o777 == 0o700
        (path / "file").touch()
    assert list(root.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_and_a_living_run_keeps_its_own(
    root: Path,
) -> None:
    dead, left = started(root)
    living, kept = started(root)
    try:
        dead.send_signal(signal.SIGKILL)
        dead.communicate()
        assert {*root.iterdir()} == {left, kept}
        with ScratchFolder("test", roots=[root]) as path:
            assert {*root.iterdir()} == {kept, path}
            assert (kept / "half").read_text() == "x"
    finally:
        living.kill()
        living.communicate()


def test_only_folders_of_ours_are_removed(root: Path) -> None:
    ours = "edgegen-test-0123456789ab"
    root.mkdir()
    (root / "edgegen-test-results").mkdir(mode=0o700)
    (root / "edgegen-test-results2026").mkdir(mode=0o700)
    (root / ours).mkdir(mode=0o755)
    (root / "outside").mkdir()
    (root / "edgegen-link-0123456789ab").symlink_to(root / "outside")
    (root / "edgegen-file-0123456789ab").touch(mode=0o700)
    assert remove_abandoned(root) == []
    (root / ours).chmod(0o700)
    assert remove_abandoned(root) == [root / ours]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_a_folder_of_another_user_is_kept(root: Path) -> None:
    path = root / "edgegen-test-0123456789ab"
    path.mkdir(mode=0o700, parents=True)
    os.chown(path, 65534, 65534)
    assert remove_abandoned(root) == []


def test_the_next_place_is_taken_where_the_first_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ScratchFolder("test", roots=[tmp_path / "file" / "tmp", tmp_path / "second"]) as path:
        assert path.parent == tmp_path / "second"


def test_no_place_at_all_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="temporary files") as caught:
        ScratchFolder("test", roots=[tmp_path / "file" / "tmp"])
    assert "TMPDIR" in caught.value.hint


def test_runs_that_start_together_do_not_remove_each_others_folders(root: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(50):
                with ScratchFolder("test", roots=[root]) as path:
                    (path / "file").write_text("x")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(root.iterdir()) == []


def test_a_folder_of_any_name_has_a_path_that_is_text(root: Path) -> None:
    plain, latin = root / "plain", root / os.fsdecode(b"caf\xe9")
    for folder in (plain, latin):
        folder.mkdir(parents=True)
    with utf8_name(plain) as path:
        assert path == plain
    with utf8_name(latin) as path:
        str(path).encode()
        (path / "file").write_text("x")
    assert (latin / "file").read_text() == "x"
    assert not path.exists()
