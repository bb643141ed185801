"""Which candidates there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.choose.space import Wanted, make_space, parse_intervals, parse_shares, parse_stops
from edgegen.core.errors import ConfigError
from edgegen.core.shipped import shipped
from edgegen.models.source import resolve

MODEL = "builtin:scenes-4step-tiny"


def recipe(folder: Path, change: str = "") -> str:
    """Write a recipe of a user's that is called fp16."""
    text = (shipped("targets") / "onnx" / "recipes" / "fp16.toml").read_text(encoding="utf-8")
    folder.mkdir()
    file = folder / "fp16.toml"
    file.write_text(text.replace('description = "', f'description = "{change}', 1))
    return str(file)


def test_two_recipes_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    own = recipe(tmp_path / "own", "mine: ")
    for words in (("fp16", own), (own, "fp16")):
        with pytest.raises(ConfigError) as caught:
            make_space([resolve(MODEL)], Wanted(recipes=words), profile=None, targets=("onnx",))
        assert all(f"'{word:.80}'" in caught.value.message for word in words)


def test_the_same_recipe_twice_is_one_candidate(tmp_path: Path) -> None:
    words = ("fp16", recipe(tmp_path / "own"))
    space = make_space([resolve(MODEL)], Wanted(recipes=words), profile=None, targets=("onnx",))
    assert [candidate.way.recipe for candidate in space.candidates] == ["fp16"]


def test_parts_of_the_steps_share_a_package_and_few_steps_have_none() -> None:
    wanted = Wanted(targets=("onnx:fp16", "coreml:fp16"), steps=(4, 25), guidance_stops=(1.0, 0.6))
    space = make_space([resolve("builtin:scenes")], wanted, profile=None, targets=())
    told = {
        (it.way.target, it.way.steps, it.way.guidance_stop): it.refused for it in space.candidates
    }
    assert len({it.way.name for it in space.candidates}) == len(space.candidates) == 8
    assert {it.package for it in space.candidates if it.way.target == "onnx"} == {
        "builtin:scenes onnx fp16"
    }
    assert told["onnx", 25, 0.6] == told["onnx", 25, 1.0] == told["onnx", 4, 1.0] == ""
    assert "part of 4 steps" in told["onnx", 4, 0.6]
    assert "two samples a call" in told["coreml", 25, 0.6]


def test_intervals_share_a_package_that_keeps_features_and_few_steps_have_none() -> None:
    wanted = Wanted(targets=("onnx:fp16",), steps=(4, 25), cache_intervals=(1, 2, 3))
    space = make_space([resolve("builtin:scenes")], wanted, profile=None, targets=())
    told = {(it.way.steps, it.way.cache_interval): it for it in space.candidates}
    assert len({it.way.name for it in space.candidates}) == len(space.candidates) == 6
    assert told[25, 1].package == told[4, 1].package == "builtin:scenes onnx fp16"
    assert told[25, 2].package == told[25, 3].package == "builtin:scenes onnx fp16 cached"
    assert space.packages[told[25, 3].package].cache_interval == 2
    made = space.built_as[told[25, 2].package]
    assert [it.role for it in made.components if "denoiser" in it.role] == [
        "denoiser",
        "shallow_denoiser",
    ]
    assert "kept through 4 steps" in told[4, 3].refused
    assert [told[25, interval].refused for interval in (1, 2, 3)] == ["", "", ""]
    sizes = [told[25, interval].known["size"].value or 0.0 for interval in (1, 2)]
    assert sizes[0] < sizes[1] < 1.1 * sizes[0]


def test_a_model_of_few_steps_has_no_candidates_that_keep_features() -> None:
    wanted = Wanted(targets=("onnx:fp16",), cache_intervals=(1, 2))
    space = make_space([resolve("builtin:scenes-4step")], wanted, profile=None, targets=())
    plain, cached = space.candidates
    assert plain.refused == ""
    assert "kept through 4 steps" in cached.refused


def test_intervals_are_read() -> None:
    assert parse_intervals("1, 3,3,2") == (1, 3, 2)


@pytest.mark.parametrize("text", ["", "0", "1.5", "-1", "all", "1,,2"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--cache-intervals is"):
        parse_intervals(text)


def test_parts_of_the_steps_are_read() -> None:
    assert parse_stops("1, 0.6,.25,1.0") == (1.0, 0.6, 0.25)


@pytest.mark.parametrize("text", ["", "0", "0.0", "1.5", "-0.5", "half", "1,,0.5", "nan", "1e-1"])
def test_what_is_no_part_of_the_steps_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--guidance-stops is"):
        parse_stops(text)


@pytest.mark.parametrize("text", ["", "1", "0", "0.0", "80", "0.5,", "-0.5", "0.5,x", "1.5"])
def test_shares_of_weights_are_between_0_and_1(text: str) -> None:
    assert parse_shares("0.8, .5,0.80") == (0.8, 0.5)
    with pytest.raises(ConfigError, match="--prune"):
        parse_shares(text)
