"""The learning curve's picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.curve import _RIGHT, draw_curves, read_curves

TABLE = """\
step,split,group,pictures,things,all_right
100,trained,plain,6,0.5,0.25
100,trained,place,6,0.5,0.0
100,trained,pair,6,0.5,0.5
100,held-out,pair,6,0.5,0.1
200,trained,plain,6,1.0,1.0
200,trained,pair,6,1.0,0.75
200,held-out,pair,6,0.5,0.2
"""


def test_compositions_are_a_mean_of_their_kinds_and_plain_things_a_curve_of_their_own(
    tmp_path: Path,
) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(TABLE)
    assert read_curves(path) == {
        "plain": [(100, 0.25), (200, 1.0)],
        "trained": [(100, pytest.approx(0.25)), (200, 0.75)],
        "held-out": [(100, 0.1), (200, 0.2)],
    }


def test_the_picture_has_a_line_of_each_colour(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(TABLE)
    left_of_names = np.asarray(draw_curves(read_curves(path)))[:, :-_RIGHT]
    for colour in ((0x88, 0x88, 0x88), (0x1F, 0x77, 0xB4), (0xD6, 0x27, 0x28)):
        assert (left_of_names == colour).all(2).sum() > 100
