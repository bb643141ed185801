"""Diffusers and a package draw the same requests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from edgegen_runner.metrics import psnr_db

from edgegen.core.errors import ConfigError
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.parity.draw_scenes import package_drawer
from edgegen.reference.draw_scenes import torch_drawer
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
from tests.tiny_packages import onnx_package

SCENE = Scene(
    kind=Kind.SINGLE, background="white", placements=(Placement(0, 8, 8, 48),), captions=("panda",)
)
REQUESTS = [
    Request(Split.TRAINED, SCENE, caption, seed)
    for caption, seed in (("panda", 0), ("pizza", 1), ("fox face", 0))
]


def test_a_package_draws_what_diffusers_draws_request_by_request(tmp_path):
    folder = resolve("builtin:emoji")
    pipeline = DiffusionPipeline.from_pretrained(folder.path, dtype=torch.float32)
    expected = torch_drawer(pipeline, steps=4, guidance=3.0)(REQUESTS)
    build(plan(folder, target="onnx", destination=tmp_path / "package"), parity=False)
    drawn = package_drawer(tmp_path / "package", steps=4, guidance=3.0)(REQUESTS)
    assert expected.shape == drawn.shape == (3, 64, 64, 3)
    assert len(np.unique(drawn.reshape(3, -1), axis=0)) == 3
    for one, other in zip(expected, drawn, strict=True):
        assert psnr_db(one, other, peak=255.0) > 40


def test_a_package_of_pictures_of_another_size_is_refused_before_it_draws(tmp_path):
    package = onnx_package(tmp_path / "package", width=32)
    with pytest.raises(ConfigError, match="32 × 32 pixels") as caught:
        package_drawer(package)
    assert "edgegen package builtin:scenes" in caught.value.hint


def test_every_caption_of_every_thing_is_asked_for_with_every_seed():
    requests = single_requests([0, 1])
    assert len({(request.caption, request.seed) for request in requests}) == len(requests)
    assert {request.scene.things[0] for request in requests} == set(range(len(objects())))


@pytest.mark.parametrize(
    ("split", "groups"),
    [(Split.TRAINED, set(GROUPS)), (Split.HELD_OUT, set(GROUPS) - {"plain", "size"})],
)
def test_a_choice_of_requests_is_the_same_every_time_and_of_its_split(split, groups):
    requests = sampled_requests(split, 3)
    assert requests == sampled_requests(split, 3)
    assert {request.split for request in requests} == {split}
    assert Counter(group_of(request.scene) for request in requests) == dict.fromkeys(groups, 3)


def test_requests_are_drawn_in_batches_and_judged_one_by_one():
    sizes = []

    def draw(requests):
        sizes.append(len(requests))
        return np.full((len(requests), 64, 64, 3), 255, np.uint8)

    judged = list(judge_all(REQUESTS, draw, batch=2))
    assert sizes == [2, 1]
    assert [request for request, _, _ in judged] == REQUESTS
    assert not any(verdict.things for _, _, verdict in judged)
    assert all(verdict.colour for _, _, verdict in judged)
