"""How the metrics of pictures are distributed, and how they fall over the steps, as SVG."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgegen.core.evaluation import EQUAL_DB, Evaluation, PictureResult
from edgegen.core.units import format_decibels
from edgegen.report.picture_grid import caption, prompt_text
from edgegen.report.quality import format_metric, metric_title
from edgegen.report.strips import Strip, strips
from edgegen.report.svg import (
    AXIS_HEIGHT,
    LETTER,
    Markup,
    Scale,
    axis_title,
    centred,
    drawing,
    element,
    spread_scale,
    vertical_axis,
)

_WIDTH = 480.0
_MOST_LETTERS = 50
_LEAST_DB, _LEAST_SHARE = 2.0, 0.02
"""What an axis spans at least: decibels, and a metric between 0 and 1."""
_COLOURS = 6

Rows = Sequence[tuple[str, Sequence[PictureResult]]]


def distribution(metric: str, rows: Rows) -> Markup | None:
    """Draw a dot for each picture, a row for each suite; None where no picture has the metric.

    The box holds the middle half, the line in it is the median. Equal pictures' PSNR is drawn as
    that of the best that isn't equal.
    """
    known = [(label, [it for it in pictures if metric in it.scores]) for label, pictures in rows]
    known = [(label, pictures) for label, pictures in known if pictures]
    if not known:
        return None
    scored = [it.scores[metric] for _, pictures in known for it in pictures]
    ceiling = max((it for it in scored if it is not None and it < EQUAL_DB), default=EQUAL_DB)

    def place(result: PictureResult) -> float:
        score = result.scores[metric]
        return ceiling if score is None else min(score, ceiling) if metric == "psnr" else score

    return strips(
        [
            Strip(label=label, values=tuple((place(it), _told(it)) for it in pictures))
            for label, pictures in known
        ],
        lambda value: format_metric(metric, value),
        axis=metric_title(metric),
        title=f"{metric_title(metric)} of each picture, by suite",
        least_span=_LEAST_DB if metric == "psnr" else _LEAST_SHARE,
    )


def _told(result: PictureResult) -> str:
    prompt = prompt_text(result.prompt)
    cut = prompt if len(prompt) <= _MOST_LETTERS else f"{prompt[: _MOST_LETTERS - 1]}…"
    return f"{cut} (seed {result.seed}): {caption(result)}"


def steps_chart(evaluations: Sequence[tuple[str, Evaluation]]) -> Markup | None:
    """Draw the PSNR of the latents after each step, the median of the pictures and the worst.

    None where no evaluation kept them, or has one step only.
    """
    lines = [(label, _by_step(evaluation)) for label, evaluation in evaluations]
    lines = [(label, steps) for label, steps in lines if len(steps) > 1]
    if not lines:
        return None
    longest = max(len(steps) for _, steps in lines)
    values = [value for _, steps in lines for pair in steps for value in pair]
    top, bottom = 34.0, 250.0
    y = spread_scale(values, bottom, top)
    left = 14 + LETTER * max(len(format_decibels(value)) for value in y.ticks(4))
    x = Scale(low=1.0, high=float(longest), start=left, end=_WIDTH - 14)
    parts = [axis_title("PSNR of the latents", 14)]
    parts.append(vertical_axis(y, left, _WIDTH - 14, format_decibels, count=4))
    step = max(1, longest // 8)
    parts += [
        centred(str(number), x(number), bottom + 17, width=_WIDTH)
        for number in range(1, longest + 1, step)
    ]
    parts.append(axis_title("step", bottom + 37, x=left))
    for row, (label, steps) in enumerate(lines):
        for worse, name in ((False, "median"), (True, "worst")):
            parts += _line(x, y, [pair[worse] for pair in steps], f"{label}: {name}", row, worse)
    title = "PSNR of the latents after each step"
    return drawing(_WIDTH, bottom + AXIS_HEIGHT, *parts, title=title)


def _line(
    x: Scale, y: Scale, values: Sequence[float], name: str, row: int, is_worse: bool
) -> list[Markup]:
    colour = f"s{row % _COLOURS}{' lesser' if is_worse else ''}"
    places = [(x(number), y(value)) for number, value in enumerate(values, start=1)]
    points = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    parts = [element("polyline", points=points, class_=f"line strong {colour}")]
    for number, ((across, up), value) in enumerate(zip(places, values, strict=True), start=1):
        tip = f"{name}, step {number}: {format_decibels(value)}"
        parts.append(
            element("circle", cx=across, cy=up, r=3.5, class_=f"dot {colour}", data_tip=tip)
        )
    return parts


def _by_step(evaluation: Evaluation) -> list[tuple[float, float]]:
    """Return the median and the worst of each step, over the pictures that have it."""
    kept = [it.steps_psnr_db for it in evaluation.pictures if it.steps_psnr_db]
    found = []
    for step in range(max(map(len, kept), default=0)):
        values = [
            EQUAL_DB if (value := steps[step]) is None else value
            for steps in kept
            if len(steps) > step
        ]
        found.append((statistics.median(values), min(values)))
    return found
