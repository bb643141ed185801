"""Pictures of packages beside those of the model, on a page that stays small."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.evaluation import Evaluation, Fault, PictureResult
from edgegen.core.units import format_decibels
from edgegen.report.picture_pairs import Pictures
from edgegen.report.svg import Markup, element

MOST_BYTES = 3_300_000
"""Of all PNG files of a page; written as text they take a third more."""
SMALL_WIDTH = 192
"""Pictures narrower than this are shown enlarged, with their pixels as squares."""

_LONGEST = 160
"""Letters of a prompt above its pictures; the whole is shown where the pointer rests on it."""

FAULTS: dict[Fault, str] = {
    "black": "black",
    "constant": "one colour",
    "not finite": "not finite",
    "noise": "noise",
}

Key = tuple[str, str | None, int]
"""A picture's suite, prompt and seed: the same of all packages of a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A package's pictures, and what it is called above them."""

    title: str
    evaluation: Evaluation
    pictures: Pictures


class Room:
    """What is left of the bytes that a page has for pictures."""

    def __init__(self, left_bytes: int = MOST_BYTES) -> None:
        self._left_bytes = left_bytes
        self.is_full = False

    def takes(self, *pngs: bytes | None) -> bool:
        """Take the pictures if there is room for all of them."""
        size = sum(len(png) for png in pngs if png is not None)
        if size > self._left_bytes:
            self.is_full = True
            return False
        self._left_bytes -= size
        return True


def worst_first(evaluation: Evaluation) -> tuple[int, ...]:
    """Return the places of the pictures, the worst first.

    Those that show nothing or could not be compared come first, then those that are wrong where
    the reference's are right, then the others by their PSNR.
    """

    def badness(index: int) -> tuple[bool, bool, float]:
        it = evaluation.pictures[index]
        psnr_db = it.scores.get("psnr")
        is_nothing = it.is_lost or it.is_uncompared
        is_wrong = it.right is False and it.reference_right is True
        return (not is_nothing, not is_wrong, float("inf") if psnr_db is None else psnr_db)

    return tuple(sorted(range(len(evaluation.pictures)), key=badness))


def key_of(result: PictureResult) -> Key:
    """Return what a picture has in common with those of other packages of its model."""
    return result.suite, result.prompt, result.seed


def usual_and_worst(evaluation: Evaluation, usual: int, worst: int) -> tuple[Key, ...]:
    """Return some pictures to show: the first of several kinds, then the worst, each once."""
    kinds: dict[tuple[str, str], Key] = {}
    for it in evaluation.pictures:
        kinds.setdefault((it.suite, it.kind), key_of(it))
    first = list(kinds.values())
    step = max(1, len(first) // max(1, usual))
    keys = first[::step][:usual]
    keys += [key_of(evaluation.pictures[place]) for place in worst_first(evaluation)[:worst]]
    return tuple(dict.fromkeys(keys))


def picture_rows(columns: Sequence[Column], keys: Sequence[Key], room: Room) -> Markup:
    """Return a row of pictures for each key: the reference's, then each package's.

    Rows without a picture, and those that there is no room for, are left out.
    """
    places = [
        {key_of(it): place for place, it in enumerate(column.evaluation.pictures)}
        for column in columns
    ]
    rows = [_row(columns, places, key, room) for key in keys]
    shown = [row for row in rows if row]
    few = " few" if len(columns) == 1 else ""
    return element("div", *shown, class_=f"picture-rows{few}") if shown else Markup("")


def _row(
    columns: Sequence[Column], places: Sequence[dict[Key, int]], key: Key, room: Room
) -> Markup:
    found = [
        (column, column.evaluation.pictures[place], column.pictures.pair(place))
        for column, of_column in zip(columns, places, strict=True)
        if (place := of_column.get(key)) is not None
    ]
    pictures = [(column.title, result, pair.package) for column, result, pair in found]
    reference = next((pair.reference for *_, pair in found if pair.reference is not None), None)
    drawn = [png for *_, png in pictures]
    if all(png is None for png in drawn) or not room.takes(reference, *drawn):
        return Markup("")
    suite, prompt, seed = key
    result = found[0][1]
    said = prompt_text(prompt)
    figures = [_figure(reference, "the model itself", _right_text(result.reference_right), said)]
    figures += [_figure(png, title, caption(it), said) for title, it, png in pictures]
    return element(
        "div",
        element(
            "p",
            element("q", _shortened(said), dir="auto", title=said),
            element("span", f" {suite} · {result.kind} · seed {seed}", class_="detail"),
        ),
        element("div", *figures, class_="pictures"),
        class_="picture-row",
    )


def caption(result: PictureResult) -> str:
    """Return what was found of a picture: `31.4 dB; wrong: count`."""
    if result.fault is not None:
        return FAULTS[result.fault]
    told = ["not compared: of another size"] if result.is_uncompared else []
    told += [format_decibels(result.scores["psnr"])] if "psnr" in result.scores else []
    if result.right is False:
        told.append(f"wrong: {', '.join(result.wrong)}" if result.wrong else "wrong")
    elif result.right:
        told.append("right")
    return "; ".join(told)


def prompt_text(prompt: str | None) -> str:
    """Return a prompt as a page shows it."""
    return "(without a prompt)" if prompt is None else prompt or "(an empty prompt)"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def _right_text(right: bool | None) -> str:
    return {True: "right", False: "wrong", None: ""}[right]


def _figure(png: bytes | None, title: str, told: str, prompt: str) -> Markup:
    written = element(
        "figcaption", element("strong", title), *([element("br"), told] if told else [])
    )
    if png is None:
        return element("figure", element("div", "not kept", class_="no-picture"), written)
    return element(
        "figure",
        element(
            "img",
            src="data:image/png;base64," + base64.b64encode(png).decode(),
            alt=f"{title}: {prompt}",
        ),
        written,
        class_="pixels" if _width(png) < SMALL_WIDTH else None,
    )


def _width(png: bytes) -> int:
    """Return the width of a PNG file, which its header begins with."""
    (width,) = struct.unpack(">I", png[16:20]) if len(png) >= 20 else (0,)
    return int(width)
