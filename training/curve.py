"""Draws the learning curve: `python -m training.curve CURVE.csv PICTURE.png`.

The table is a stage's `<stage>.scores.csv`; a model that ships has its own as `curve.csv`.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from PIL import Image, ImageDraw, ImageFont

_SIZE = (760, 360)
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 170, 20, 50
_INK, _GRID = "#333333", "#dddddd"
_LINES: Mapping[str, tuple[str, str]] = {
    "plain": ("a thing on white", "#888888"),
    "trained": ("compositions, seen", "#1f77b4"),
    "held-out": ("compositions, held out", "#d62728"),
}
"""What a line is called, and its colour."""

Curve = Sequence[tuple[int, float]]
"""Steps, and the share of pictures in which everything is right."""


def read_curves(path: Path) -> Mapping[str, Curve]:
    """Return the curves of a table: plain things, and the mean over the kinds of compositions."""
    shares: dict[str, dict[int, list[float]]] = {name: defaultdict(list) for name in _LINES}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = "plain" if row["group"] == "plain" else row["split"]
            shares[name][int(row["step"])].append(float(row["all_right"]))
    return {
        name: [(step, fmean(values)) for step, values in sorted(of_step.items())]
        for name, of_step in shares.items()
    }


def draw_curves(curves: Mapping[str, Curve]) -> Image.Image:
    """Return a chart: shares against steps, each line named at its end."""
    image = Image.new("RGB", _SIZE, "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    last = max(step for curve in curves.values() for step, _ in curve)

    def at(step: float, share: float) -> tuple[float, float]:
        width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM
        return _LEFT + step / last * width, _TOP + (1 - share) * height

    for quarter in range(5):
        share = quarter / 4
        draw.line((at(0, share), at(last, share)), fill=_GRID)
        draw.text((_LEFT - 8, at(0, share)[1]), f"{share:.0%}", _INK, font, "rm")
        step = last * share
        draw.text((at(step, 0)[0], _SIZE[1] - _BOTTOM + 8), f"{step:,.0f}", _INK, font, "mt")
    caption = "steps of training; share of pictures in which everything is right"
    draw.text((_LEFT, _SIZE[1] - 8), caption, _INK, font, "lb")
    lowest = 0.0
    for name, curve in sorted(curves.items(), key=lambda item: -item[1][-1][1]):
        label, colour = _LINES[name]
        draw.line([at(*point) for point in curve], fill=colour, width=2, joint="curve")
        x, y = at(*curve[-1])
        lowest = max(y, lowest + 16)  # names that would overlap stand below each other
        draw.text((x + 8, lowest), label, colour, font, "lm")
    return image


if __name__ == "__main__":
    draw_curves(read_curves(Path(sys.argv[1]))).save(sys.argv[2], optimize=True)
