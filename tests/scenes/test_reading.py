"""The reader of pictures, held against pictures whose contents are known."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.scenes.combinations import Split
from edgegen.scenes.reading import Reading, read_picture
from edgegen.scenes.render import render
from edgegen.scenes.scene import COLOURS, Kind, Placement, Scene
from edgegen.scenes.scores import judge_each, sampled_requests, score
from edgegen.scenes.verdict import judge


def scored(change):
    requests = [*sampled_requests(Split.TRAINED, 10), *sampled_requests(Split.HELD_OUT, 5)]
    pictures = [change(render(request.scene)) for request in requests]
    return score((request, verdict) for request, _, verdict in judge_each(requests, pictures))


def noisy(pixels):
    noise = np.random.default_rng(int(pixels.sum())).normal(0, 25, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def blurred(pixels):
    wide = np.pad(pixels.astype(np.float32), ((1, 1), (1, 1), (0, 0)), "edge")
    return sum(wide[y : y + 64, x : x + 64] for y in range(3) for x in range(3)) / 9


def shifted(pixels):
    return np.roll(pixels, 1, axis=(0, 1))


def test_pictures_that_are_known_are_all_read_right():
    for key, found in scored(lambda pixels: pixels).items():
        assert found.all_right == 1, key


@pytest.mark.parametrize(
    "change", [noisy, *(pytest.param(it, marks=pytest.mark.slow) for it in (blurred, shifted))]
)
def test_pictures_that_are_spoiled_a_little_are_mostly_read_right(change):
    assert np.mean([found.all_right for found in scored(change).values()]) >= 0.95


def test_noise_is_read_as_nothing():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert read_picture(pixels).placements == ()


@pytest.mark.parametrize("background", COLOURS)
def test_an_empty_picture_has_a_colour_and_no_things(background):
    pixels = np.full((64, 64, 3), COLOURS[background], np.uint8)
    assert read_picture(pixels) == Reading(background, ())


LEFT, RIGHT = Placement(5, 0, 16, 32), Placement(9, 32, 16, 32)
PAIR = Scene(kind=Kind.PAIR, background="white", placements=(LEFT, RIGHT), captions=("",))


def test_a_pair_that_stands_the_wrong_way_round_has_its_things_and_not_its_placement():
    swapped = (Placement(9, 0, 16, 32), Placement(5, 32, 16, 32))
    verdict = judge(PAIR, Reading("white", swapped))
    assert verdict.things
    assert not verdict.placement
    assert not verdict.all_right


def test_a_missing_thing_is_a_wrong_count_and_wrong_things():
    verdict = judge(PAIR, Reading("white", (LEFT,)))
    assert not verdict.count
    assert not verdict.things


def test_a_wrong_background_is_a_wrong_colour_alone():
    verdict = judge(PAIR, Reading("blue", (LEFT, RIGHT)))
    assert (verdict.things, verdict.count, verdict.colour) == (True, True, False)


def test_a_big_thing_that_is_drawn_at_its_normal_size_is_not_right():
    big = Scene(
        kind=Kind.SIZE, background="white", placements=(Placement(5, 0, 0, 64),), captions=()
    )
    verdict = judge(big, Reading("white", (Placement(5, 8, 8, 48),)))
    assert verdict.things
    assert not verdict.size
    assert not verdict.all_right


def test_a_count_has_no_placement_to_judge():
    scene = Scene(
        kind=Kind.COUNT,
        background="white",
        placements=(LEFT, Placement(5, 32, 16, 32)),
        captions=(),
    )
    assert judge(scene, Reading("white", scene.placements)).placement is None
