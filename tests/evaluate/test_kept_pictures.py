"""The folder of an evaluation's pictures is of one evaluation only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgegen.evaluate.pictures import Pair, write_pictures
from tests.evaluate.results import result

BLANK = np.zeros((4, 4, 3), np.uint8)


def test_what_an_earlier_evaluation_left_goes_and_other_files_stay(tmp_path: Path) -> None:
    pairs = [Pair(number=it, result=result(), reference=BLANK, package=BLANK) for it in range(3)]
    write_pictures(tmp_path, pairs)
    assert len(list(tmp_path.glob("*.png"))) == 6
    (tmp_path / "mine.png").touch()
    write_pictures(tmp_path, pairs[:1])
    names = {path.name for path in tmp_path.glob("*.png")}
    assert len(names) == 3
    assert "mine.png" in names


def test_a_list_that_names_files_elsewhere_removes_none(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    pairs = [Pair(number=0, result=result(), reference=BLANK, package=BLANK)]
    write_pictures(folder, pairs)
    (tmp_path / "other.png").touch()
    listed = folder / "pictures.json"
    listed.write_text(listed.read_text().replace("0-known-0-package.png", "../other.png"))
    write_pictures(folder, pairs)
    assert (tmp_path / "other.png").exists()
