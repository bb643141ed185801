"""Every scene there is, with its captions in plain English, split by split.

What a caption leaves open has a scene for each choice; a colour where the combination asks for
none is drawn by a hash of the caption, so that the list is the same everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import combinations

from edgegen.scenes.combinations import (
    Split,
    colour_split,
    count_split,
    pair_split,
    place_split,
)
from edgegen.scenes.objects import Name, SceneObject, objects
from edgegen.scenes.scene import (
    BIG_PX,
    COLOURS,
    NORMAL_CORNER_PX,
    NORMAL_PX,
    SMALL_CORNERS_PX,
    SMALL_PX,
    WHITE,
    Kind,
    Placement,
    Scene,
)

PLACES = (
    ("in the top left corner", "at the top left"),
    ("at the top", "at the top center"),
    ("in the top right corner", "at the top right"),
    ("at the left", "on the left"),
    ("in the center", "in the middle"),
    ("at the right", "on the right"),
    ("in the bottom left corner", "at the bottom left"),
    ("at the bottom", "at the bottom center"),
    ("in the bottom right corner", "at the bottom right"),
)
"""Where a small thing can stand, row by row, each in two wordings."""

COUNTS: Mapping[int, tuple[str, tuple[tuple[int, int], ...]]] = {
    2: ("two", ((0, 16), (32, 16))),
    3: ("three", ((16, 0), (0, 32), (32, 32))),
    4: ("four", ((0, 0), (32, 0), (0, 32), (32, 32))),
}
"""The word for a count, and where each of so many things stands."""

_PAIRS = (
    (("left of", "to the left of"), ((0, 16), (32, 16))),
    (("right of", "to the right of"), ((32, 16), (0, 16))),
    (("above", "over"), ((16, 0), (16, 32))),
    (("below", "under"), ((16, 32), (16, 0))),
)

_COLOURED_IN = 4
"""About one pair of so many stands on a colour, chosen by a hash; the others on white."""


def scenes(split: Split) -> Iterator[Scene]:
    """Yield the scenes of a split. Those of single things without a colour are all trained on."""
    for thing in objects():
        for make in (_singles, _sizes, _places, _counts):
            yield from make(thing, split)
    for first, second in combinations(objects(), 2):
        if pair_split(first.index, second.index) is split:
            yield from _pair(first, second)
            yield from _pair(second, first)


def _singles(thing: SceneObject, split: Split) -> Iterator[Scene]:
    placement = (Placement(thing.index, NORMAL_CORNER_PX, NORMAL_CORNER_PX, NORMAL_PX),)
    for colour in COLOURS:
        if colour_split(thing.index, colour) is split:
            captions = [name.with_article() for name in thing.names]
            if colour == WHITE:
                captions += [name.singular for name in thing.names]
                captions.append(f"a picture of {thing.name.with_article()}")
            yield _scene(Kind.SINGLE, colour, placement, captions)


def _sizes(thing: SceneObject, split: Split) -> Iterator[Scene]:
    if split is not Split.TRAINED:
        return
    big = (Placement(thing.index, 0, 0, BIG_PX),)
    captions = [name.with_article("big") for name in thing.names]
    for colour in (WHITE, *_some_colours(thing, captions[0], 2)):
        yield _scene(Kind.SIZE, colour, big, captions)
    captions = [name.with_article("small") for name in thing.names]
    for place in range(len(PLACES)):
        if place_split(thing.index, place) is split:
            colour = _colour(thing, f"{captions[0]} {place}")
            yield _scene(Kind.SIZE, colour, (_small(thing, place),), captions, unplaced=True)


def _places(thing: SceneObject, split: Split) -> Iterator[Scene]:
    for place, wordings in enumerate(PLACES):
        if place_split(thing.index, place) is split:
            captions = [f"{thing.name.with_article('small')} {words}" for words in wordings]
            captions += [f"{name.with_article('small')} {wordings[0]}" for name in thing.names[1:]]
            for colour in dict.fromkeys((WHITE, _colour(thing, captions[0]))):
                yield _scene(Kind.PLACE, colour, (_small(thing, place),), captions)


def _counts(thing: SceneObject, split: Split) -> Iterator[Scene]:
    plurals = [name.plural for name in thing.names if name.plural]
    for count, (word, corners) in COUNTS.items():
        if plurals and count_split(thing.index, count) is split:
            captions = [f"{word} {plural}" for plural in plurals]
            placements = tuple(Placement(thing.index, x, y, SMALL_PX) for x, y in corners)
            for colour in (WHITE, *_some_colours(thing, captions[0], 2)):
                yield _scene(Kind.COUNT, colour, placements, captions)


def _pair(first: SceneObject, second: SceneObject) -> Iterator[Scene]:
    for relations, corners in _PAIRS:
        captions = [_together(first.name, word, second.name) for word in relations]
        other = _together(first.names[-1], relations[0], second.names[-1])
        colour = _pair_colour(first, second, captions[0])
        placements = tuple(
            Placement(thing.index, x, y, SMALL_PX)
            for thing, (x, y) in zip((first, second), corners, strict=True)
        )
        yield _scene(Kind.PAIR, colour, placements, [*captions, other])


def _together(first: Name, word: str, second: Name) -> str:
    return f"{first.with_article()} {word} {second.with_article()}"


def _small(thing: SceneObject, place: int) -> Placement:
    row, column = divmod(place, 3)
    x, y = SMALL_CORNERS_PX[column], SMALL_CORNERS_PX[row]
    return Placement(thing.index, x, y, SMALL_PX)


def _scene(
    kind: Kind,
    colour: str,
    placements: tuple[Placement, ...],
    captions: list[str],
    *,
    unplaced: bool = False,
) -> Scene:
    where = "" if colour == WHITE else f" on {'an' if colour == 'orange' else 'a'} {colour}"
    texts = tuple(
        dict.fromkeys(f"{text}{where} background" if where else text for text in captions)
    )
    return Scene(
        kind=kind, background=colour, placements=placements, captions=texts, unplaced=unplaced
    )


def _some_colours(thing: SceneObject, text: str, number: int) -> tuple[str, ...]:
    """Choose colours that are trained on with the thing, by a hash."""
    allowed = [
        colour
        for colour in COLOURS
        if colour != WHITE and colour_split(thing.index, colour) is Split.TRAINED
    ]
    start = zlib.crc32(text.encode())
    return tuple(allowed[(start + index * 3) % len(allowed)] for index in range(number))


def _colour(thing: SceneObject, text: str) -> str:
    """Return white for half of the texts, and a colour for the others."""
    return WHITE if zlib.crc32(text.encode()) % 2 else _some_colours(thing, text, 1)[0]


def _pair_colour(first: SceneObject, second: SceneObject, text: str) -> str:
    start = zlib.crc32(text.encode())
    if start % _COLOURED_IN:
        return WHITE
    colour = _some_colours(first, text, 1)[0]
    return colour if colour_split(second.index, colour) is Split.TRAINED else WHITE
