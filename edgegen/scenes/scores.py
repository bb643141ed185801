"""Scores a model on scenes: how often its pictures show what the captions ask for.

A request is a caption with a seed; whoever draws it only returns pixels.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from edgegen.drawer import Drawer, DrawRequest, Pixels
from edgegen.scenes.catalogue import scenes
from edgegen.scenes.combinations import Split
from edgegen.scenes.reading import read_picture
from edgegen.scenes.scene import PICTURE_PX, WHITE, Kind, Scene
from edgegen.scenes.verdict import Verdict, judge

SEEDS = range(5)
"""What noise comes from: requests take the seeds in turn, or all of them."""

_SELECTION_SEED = 20261125


@dataclass(frozen=True, slots=True)
class Request:
    """A caption of a scene of a split, and the seed of its noise."""

    split: Split
    scene: Scene
    caption: str
    seed: int


Judged = tuple[Request, Pixels, Verdict]
"""What was asked for, (64, 64, 3) of what was drawn, and what of it is right."""

GROUPS = ("plain", "colour", "size", "place", "count", "pair")
"""What is scored together: a thing alone on white, on a colour, and the other kinds of scenes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The shares, 0 to 1, of so many pictures that are right; None where nothing asks for it."""

    pictures: int
    things: float
    count: float
    colour: float
    size: float
    placement: float | None
    all_right: float


def group_of(scene: Scene) -> str:
    """Return the group of a scene."""
    if scene.kind is Kind.SINGLE:
        return "plain" if scene.background == WHITE else "colour"
    return scene.kind.value


def single_requests(seeds: Iterable[int] = SEEDS) -> list[Request]:
    """Return every caption of every thing alone on white, with every seed."""
    plain = [scene for scene in scenes(Split.TRAINED) if group_of(scene) == "plain"]
    return [
        Request(Split.TRAINED, scene, caption, seed)
        for seed in seeds
        for scene in plain
        for caption in scene.captions
    ]


@cache
def sampled_requests(split: Split, number: int) -> tuple[Request, ...]:
    """Return a fixed choice of `number` requests of each group of a split, plainest captions."""
    chosen: dict[str, list[Scene]] = {group: [] for group in GROUPS}
    for scene in scenes(split):
        chosen[group_of(scene)].append(scene)
    generator = random.Random(_SELECTION_SEED)  # noqa: S311 - the same choice every time
    return tuple(
        request
        for members in chosen.values()
        for request in _plainest(split, generator.sample(members, min(number, len(members))))
    )


def placed_anew_requests() -> list[Request]:
    """Return the held-out places at which no trained picture has the thing, in company either.

    Most of the held-out places are shown in training all the same: by a count, or by a pair, whose
    captions name no place.
    """
    shown = {placement for scene in scenes(Split.TRAINED) for placement in scene.placements}
    anew = [
        scene
        for scene in scenes(Split.HELD_OUT)
        if scene.kind is Kind.PLACE and shown.isdisjoint(scene.placements)
    ]
    return _plainest(Split.HELD_OUT, anew)


def _plainest(split: Split, members: Iterable[Scene]) -> list[Request]:
    return [
        Request(split, scene, scene.captions[0], SEEDS[index % len(SEEDS)])
        for index, scene in enumerate(members)
    ]


def judge_all(
    requests: Sequence[Request],
    drawer: Drawer,
    settings: DrawRequest = DrawRequest(),  # noqa: B008 - a frozen value
    *,
    batch: int = 16,
) -> Iterator[Judged]:
    """Draw requests, so many at once, and judge each picture; `settings` has steps and the like."""
    settings = replace(settings, width=PICTURE_PX, height=PICTURE_PX)
    for start in range(0, len(requests), batch):
        part = requests[start : start + batch]
        wanted = [replace(settings, prompt=each.caption, seed=each.seed) for each in part]
        yield from judge_each(part, drawer.draw(wanted))


def judge_each(requests: Iterable[Request], pictures: Iterable[Pixels]) -> Iterator[Judged]:
    """Judge what was drawn of each request."""
    for request, pixels in zip(requests, pictures, strict=True):
        yield request, pixels, judge(request.scene, read_picture(pixels))


def score(verdicts: Iterable[tuple[Request, Verdict]]) -> Mapping[tuple[Split, str], Score]:
    """Return the score of each split and group that has verdicts."""
    grouped: dict[tuple[Split, str], list[Verdict]] = {}
    for request, verdict in verdicts:
        key = request.split, group_of(request.scene)
        grouped.setdefault(key, []).append(verdict)
    return {
        (split, group): _score(grouped[split, group])
        for split in Split
        for group in GROUPS
        if (split, group) in grouped
    }


def _score(verdicts: Sequence[Verdict]) -> Score:
    placed = [verdict.placement for verdict in verdicts if verdict.placement is not None]
    return Score(
        pictures=len(verdicts),
        things=_share(verdict.things for verdict in verdicts),
        count=_share(verdict.count for verdict in verdicts),
        colour=_share(verdict.colour for verdict in verdicts),
        size=_share(verdict.size for verdict in verdicts),
        placement=_share(placed) if placed else None,
        all_right=_share(verdict.all_right for verdict in verdicts),
    )


def _share(values: Iterable[bool]) -> float:
    return float(np.mean(list(values)))
