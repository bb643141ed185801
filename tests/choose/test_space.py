"""Which candidates there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.choose.space import Wanted, make_space
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
