"""Reads recipes: those of a target, and files of the user's own."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.named import load_named
from edgegen.core.recipe import Recipe
from edgegen.core.shipped import shipped
from edgegen.core.target import TargetSpec


def load_recipe(name_or_path: str | None, target: TargetSpec) -> Recipe:
    """Read a recipe of `target` by its name, or a recipe file by its path.

    What ends in `.toml` or has a folder in it is a path; None is the target's default recipe.
    Raises ConfigError for a name that the target does not have, and for a file that is not a
    recipe.
    """
    return load_named(
        Recipe,
        target.default_recipe if name_or_path is None else name_or_path,
        recipe_folder(target),
        kind=f"recipe of the target '{target.name}' called",
        known=target.recipes,
    )


def recipe_folder(target: TargetSpec) -> Path:
    """Return the folder of a target's recipes."""
    return shipped("targets") / target.name / "recipes"
