"""What is asked for of scenes, and how it is drawn and judged."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgegen.drawer import DrawRequest
from edgegen.scenes.combinations import Split
from edgegen.scenes.objects import objects
from edgegen.scenes.scene import Kind, Placement, Scene
from edgegen.scenes.scores import (
    GROUPS,
    Request,
    group_of,
    judge_all,
    sampled_requests,
    single_requests,
)

SCENE = Scene(
    kind=Kind.SINGLE, background="white", placements=(Placement(0, 8, 8, 48),), captions=("panda",)
)
REQUESTS = [
    Request(Split.TRAINED, SCENE, caption, seed)
    for caption, seed in (("panda", 0), ("pizza", 1), ("fox face", 0))
]


def test_every_caption_of_every_thing_is_asked_for_with_every_seed():
    requests = single_requests([0, 1])
    assert len({(request.caption, request.seed) for request in requests}) == len(requests)
    assert {request.scene.things[0] for request in requests} == set(range(len(objects())))


@pytest.mark.parametrize(
    ("split", "groups", "first"),
    [
        (
            Split.TRAINED,
            set(GROUPS),
            [
                "a dog face",
                "a loudspeaker on an orange background",
                "a big microscope on a pink background",
                "a small megaphone at the right",
                "two televisions on a blue background",
                "a set square left of a framed picture",
            ],
        ),
        (
            Split.HELD_OUT,
            set(GROUPS) - {"plain", "size"},
            [
                "a dog face on a blue background",
                "a small boomerang at the bottom",
                "four cardboard boxes on a yellow background",
                "a red book above a globe",
            ],
        ),
    ],
)
def test_a_choice_of_requests_is_the_same_everywhere_and_of_its_split(split, groups, first):
    requests = sampled_requests(split, 3)
    assert [request.caption for request in requests[::3]] == first
    assert {request.split for request in requests} == {split}
    assert Counter(group_of(request.scene) for request in requests) == dict.fromkeys(groups, 3)


def test_requests_are_drawn_in_batches_and_judged_one_by_one():
    drawn = []

    class White:
        def draw(self, requests):
            drawn.append(requests)
            return [np.full((64, 64, 3), 255, np.uint8) for _ in requests]

    judged = list(judge_all(REQUESTS, White(), DrawRequest(steps=4), batch=2))
    assert [len(requests) for requests in drawn] == [2, 1]
    assert drawn[1] == [DrawRequest(prompt="fox face", seed=0, steps=4, width=64, height=64)]
    assert [request for request, _, _ in judged] == REQUESTS
    assert not any(verdict.things for _, _, verdict in judged)
    assert all(verdict.colour for _, _, verdict in judged)
