"""Kills on a file system that cannot exchange two folders: there it takes two renames."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.staging import staged_folder
from tests.faults.command import REPOSITORY

KILLED = """
import ctypes, os, sys
from pathlib import Path
from edgegen.core.staging import staged_folder

out, renames = Path(sys.argv[1]), int(sys.argv[2])
ctypes.CDLL = lambda *_, **__: object()  # no renameat2
rename = Path.rename

def dying(self, target):
    global renames
    renames -= 1
    if renames < 0:
        os._exit(0)
    return rename(self, target)

Path.rename = dying
with staged_folder(out, replace=True) as staging:
    (staging / "new").touch()
"""


@pytest.mark.parametrize(
    ("renames", "left"), [(0, "old"), (1, None), (2, "new"), (3, "new")], ids=str
)
def test_killed_replacement_loses_nothing(renames: int, left: str | None, place: Path) -> None:
    out = place / "out"
    out.mkdir()
    (out / "old").touch()
    subprocess.run(
        [sys.executable, "-c", KILLED, str(out), str(renames)], check=True, cwd=REPOSITORY
    )
    assert [path.name for path in out.glob("*")] == ([left] if left else [])
    with pytest.raises(ConfigError, match="exists"), staged_folder(out, replace=False):
        pass
    assert [path.name for path in out.iterdir()] == [left or "old"]
    with staged_folder(out, replace=True) as staging:
        (staging / "newer").touch()
    assert [path.name for path in place.rglob("*")] == ["out", "newer"]
