"""Pictures that show nothing are told apart, and real ones are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.png_reader import read_png
from numpy.typing import NDArray

from edgegen.evaluate.faults import fault_of
from edgegen.scenes.render import render
from edgegen.scenes.scores import Split, sampled_requests

DATA = Path(__file__).parents[1] / "data" / "pictures"
PX = 64


def squares(name: str) -> list[NDArray[np.uint8]]:
    sheet = read_png(DATA / name)
    return [sheet[:, left : left + PX] for left in range(0, sheet.shape[1], PX)]


def gray(level: int) -> NDArray[np.uint8]:
    return np.full((PX, PX, 3), level, np.uint8)


def test_pictures_of_the_builtin_models_are_none() -> None:
    assert [fault_of(picture) for picture in squares("real.png")] == [None] * 22


@pytest.mark.parametrize("split", [Split.TRAINED, Split.HELD_OUT])
def test_pictures_of_scenes_are_none(split: Split) -> None:
    pictures = [render(request.scene) for request in sampled_requests(split, 8)]
    assert {fault_of(picture) for picture in pictures} == {None}


def test_latents_that_were_not_denoised_are_noise() -> None:
    assert [fault_of(picture) for picture in squares("noise.png")] == ["noise"] * 12


@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_of_any_strength_is_noise(channels: int) -> None:
    generator = np.random.default_rng(3)
    for deviation in (4, 20, 80):
        values = 128 + generator.normal(0, deviation, (PX, PX, channels))
        picture = np.clip(np.repeat(values, 3 // channels, axis=2), 0, 255).astype(np.uint8)
        assert fault_of(picture) == "noise"


@pytest.mark.parametrize(("level", "fault"), [(0, "black"), (3, "black"), (4, "constant")])
def test_black_and_other_colors_are_told_apart(level: int, fault: str) -> None:
    assert fault_of(gray(level)) == fault
    speck = gray(level)
    speck[0, 0] = 255
    assert fault_of(speck) == fault
    assert fault_of(gray(255)) == "constant"


def test_a_dark_picture_and_a_slope_show_something() -> None:
    dark = gray(0)
    dark[20:40, 20:40] = 30
    assert fault_of(dark) is None
    slope = gray(0)
    slope[:] = np.arange(PX, dtype=np.uint8)[None, :, None] * 4
    assert fault_of(slope) is None


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (1, 1)])
def test_tiny_pictures_have_an_answer(size: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    assert fault_of(np.full((*size, 3), 90, np.uint8)) == "constant"
    picture = generator.integers(0, 255, (*size, 3)).astype(np.uint8)
    assert fault_of(picture) in ("noise", "constant", None)
