"""Which scenes there are, and that what is held out was never seen."""

from __future__ import annotations

import re

import pytest

from edgegen.scenes.catalogue import PLACES, scenes
from edgegen.scenes.combinations import Split, pair_split
from edgegen.scenes.objects import objects
from edgegen.scenes.scene import COLOURS, PICTURE_PX, SMALL_CORNERS_PX, SMALL_PX, WHITE, Kind

RELATIONS = {
    "left of": (-32, 0),
    "to the left of": (-32, 0),
    "right of": (32, 0),
    "to the right of": (32, 0),
    "above": (0, -32),
    "over": (0, -32),
    "below": (0, 32),
    "under": (0, 32),
}
"""How far the first thing is from the second, to the right and down."""
COLUMNS = {"left": 0, "right": 32}
ROWS = {"top": 0, "bottom": 32}
BETWEEN = 16


@pytest.fixture(scope="module")
def trained():
    return list(scenes(Split.TRAINED))


@pytest.fixture(scope="module")
def held_out():
    return list(scenes(Split.HELD_OUT))


@pytest.fixture(scope="module")
def everything(trained, held_out):
    return trained + held_out


def captions_of(found):
    return {caption for scene in found for caption in scene.captions}


def told_apart(caption):
    """Return a caption without its background, and the colour that it names, or None."""
    match = re.fullmatch(r"(.*) on an? (\w+) background", caption)
    return match.groups() if match else (caption, None)


def test_no_caption_that_is_held_out_is_trained_on(trained, held_out):
    assert not captions_of(trained) & captions_of(held_out)


def test_no_picture_that_is_held_out_is_trained_on(trained, held_out):
    def contents(scene):
        return scene.background, frozenset(scene.placements)

    assert not {contents(scene) for scene in trained} & {contents(scene) for scene in held_out}


def test_both_splits_have_every_kind_of_combination(trained, held_out):
    assert {scene.kind for scene in trained} == set(Kind)
    assert {scene.kind for scene in held_out} == set(Kind) - {Kind.SIZE}


def test_a_place_is_held_out_alone_and_by_its_caption_but_mostly_shown_in_company(
    trained, held_out
):
    places = {item for scene in held_out if scene.kind is Kind.PLACE for item in scene.placements}
    shown_in = {kind: set() for kind in Kind}
    for scene in trained:
        shown_in[scene.kind].update(places.intersection(scene.placements))

    assert len(places) == len(objects())
    assert {kind for kind, shown in shown_in.items() if shown} == {Kind.COUNT, Kind.PAIR}
    assert len(set().union(*shown_in.values())) == 364


def test_every_thing_is_trained_on_alone_and_with_most_colours_and_counts(trained):
    colours = {thing.index: set() for thing in objects()}
    counts = {thing.index: set() for thing in objects() if any(name.plural for name in thing.names)}
    for scene in trained:
        if scene.kind is Kind.SINGLE:
            colours[scene.things[0]].add(scene.background)
        elif scene.kind is Kind.COUNT:
            counts[scene.things[0]].add(len(scene.placements))
    assert all(WHITE in found for found in colours.values())
    assert min(map(len, colours.values())) == len(COLOURS) - 1
    assert min(map(len, counts.values())) == 2
    assert set().union(*counts.values()) == {2, 3, 4}


def test_a_caption_means_one_scene_unless_it_leaves_the_place_open(trained):
    meanings = {}
    for scene in trained:
        if not scene.unplaced:
            for caption in scene.captions:
                contents = (scene.background, frozenset(scene.placements))
                assert meanings.setdefault(caption, contents) == contents, caption


def test_a_background_is_named_unless_it_is_white(everything):
    for scene in everything:
        for caption in scene.captions:
            assert ("background" in caption) == (scene.background != WHITE), caption
            assert (told_apart(caption)[1] or WHITE) == scene.background, caption


def test_things_stand_inside_the_picture_and_beside_each_other(trained):
    for scene in trained:
        cells = [
            {
                (x, y)
                for x in range(item.x, item.x + item.size, 8)
                for y in range(item.y, item.y + item.size, 8)
            }
            for item in scene.placements
        ]
        assert max(max(xy) for cell in cells for xy in cell) < PICTURE_PX
        assert sum(map(len, cells)) == len(set().union(*cells))
        small = [item for item in scene.placements if item.size == SMALL_PX]
        assert {xy for item in small for xy in (item.x, item.y)} <= set(SMALL_CORNERS_PX)


def test_a_pair_has_the_same_split_in_both_orders():
    for first in range(20):
        for second in range(first):
            assert pair_split(first, second) is pair_split(second, first)


def test_a_relation_is_that_of_the_first_thing_to_the_second(everything):
    called = [{name.with_article() for name in thing.names} for thing in objects()]
    related = re.compile(f"(.+?) ({'|'.join(RELATIONS)}) (.+)")
    found = {words: set() for words in RELATIONS}
    for scene in everything:
        if scene.kind is Kind.PAIR:
            first, second = scene.placements
            for caption in scene.captions:
                one, words, other = related.fullmatch(told_apart(caption)[0]).groups()
                assert one in called[first.thing], caption
                assert other in called[second.thing], caption
                assert (first.x - second.x, first.y - second.y) == RELATIONS[words], caption
                found[words].add(scene.things)
    pairs = {scene.things for scene in everything if scene.kind is Kind.PAIR}
    assert [words for words in RELATIONS if found[words] != pairs] == []


def test_a_thing_stands_where_the_caption_says(everything):
    places = [words for wordings in PLACES for words in wordings]
    placed = re.compile(f".+ ({'|'.join(places)})")
    found = {words: set() for words in places}
    for scene in everything:
        if scene.kind is Kind.PLACE:
            (item,) = scene.placements
            for caption in scene.captions:
                words = placed.fullmatch(told_apart(caption)[0])[1]
                x = next((x for word, x in COLUMNS.items() if word in words), BETWEEN)
                y = next((y for word, y in ROWS.items() if word in words), BETWEEN)
                assert (item.x, item.y) == (x, y), caption
                found[words].add(item.thing)
    assert [words for words in places if len(found[words]) != len(objects())] == []
