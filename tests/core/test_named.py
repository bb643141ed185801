from __future__ import annotations

from pathlib import Path

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.named import is_path, load_named, names_in
from edgegen.core.recipe import Recipe
from edgegen.core.shipped import shipped

RECIPES = shipped("targets") / "onnx" / "recipes"


def load(name: str, folder: Path = RECIPES) -> Recipe:
    return load_named(Recipe, name, folder, kind="recipe", known=names_in(folder))


def test_a_name_is_read_from_the_folder() -> None:
    assert load("fp32").name == "fp32"


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(ConfigError, match="no recipe 'fp33'") as raised:
        load("fp33")
    assert raised.value.hint.startswith("Did you mean 'fp32'?")


@pytest.mark.parametrize("name", ["../fp32", "./mine", "fp32.toml", "a/b.toml"])
def test_what_looks_like_a_path_is_a_path(name: str) -> None:
    assert is_path(name)
    with pytest.raises(ConfigError, match="does not exist"):
        load(name)


def test_a_file_of_the_users_own_may_have_any_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES / "fp32.toml").read_text())
    assert load(str(path)).name == "fp32"


def test_a_shipped_file_under_another_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text((RECIPES / "fp32.toml").read_text())
    with pytest.raises(ConfigError, match="name is 'fp32'"):
        load("other", tmp_path)
