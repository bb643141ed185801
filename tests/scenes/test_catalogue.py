"""Which scenes there are, and that what is held out was never seen."""

from __future__ import annotations

from collections import Counter

import pytest

from edgegen.scenes.catalogue import scenes
from edgegen.scenes.combinations import Split, pair_split
from edgegen.scenes.objects import objects
from edgegen.scenes.render import render
from edgegen.scenes.scene import PICTURE_PX, WHITE, Kind


@pytest.fixture(scope="module")
def trained():
    return list(scenes(Split.TRAINED))


@pytest.fixture(scope="module")
def held_out():
    return list(scenes(Split.HELD_OUT))


def captions_of(found):
    return {caption for scene in found for caption in scene.captions}


def test_no_caption_that_is_held_out_is_trained_on(trained, held_out):
    assert not captions_of(trained) & captions_of(held_out)


def test_no_picture_that_is_held_out_is_trained_on(trained, held_out):
    def contents(scene):
        return scene.background, frozenset(scene.placements)

    assert not {contents(scene) for scene in trained} & {contents(scene) for scene in held_out}


def test_both_splits_have_every_kind_of_combination(trained, held_out):
    assert {scene.kind for scene in trained} == set(Kind)
    assert {scene.kind for scene in held_out} == set(Kind) - {Kind.SIZE}


def test_every_thing_is_trained_on_alone_and_with_most_colours_and_counts(trained):
    alone = Counter(scene.things[0] for scene in trained if scene.kind is Kind.SINGLE)
    assert len(alone) == len(objects())
    assert min(alone.values()) >= 8


def test_a_caption_means_one_scene_unless_it_leaves_the_place_open(trained):
    meanings = {}
    for scene in trained:
        if not scene.unplaced:
            for caption in scene.captions:
                contents = (scene.background, frozenset(scene.placements))
                assert meanings.setdefault(caption, contents) == contents, caption


def test_a_background_is_named_unless_it_is_white(trained):
    for scene in trained:
        for caption in scene.captions:
            assert (f"{scene.background} background" in caption) == (scene.background != WHITE)


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


def test_a_pair_has_the_same_split_in_both_orders():
    for first in range(20):
        for second in range(first):
            assert pair_split(first, second) is pair_split(second, first)


def test_left_of_is_left_of(trained):
    scene = next(scene for scene in trained if "a fox left of" in scene.captions[0])
    first, second = scene.placements
    assert first.x < second.x
    assert first.y == second.y
    assert render(scene).shape == (PICTURE_PX, PICTURE_PX, 3)
