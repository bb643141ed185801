"""Reads recipes: those of a target, and files of the user's own."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.named import is_path, load_named
from edgegen.core.recipe import Recipe
from edgegen.core.shipped import shipped
from edgegen.core.target import TargetSpec

MIXES = ("mixed-4.5", "mixed-300MB")
"""Names of recipes that are made for a model (`packaging/mixed.py`), for errors and completion."""


def load_recipe(name_or_path: str | None, target: TargetSpec) -> Recipe:
    """Read a recipe of `target` by its name, or a recipe file by its path.

    What ends in `.toml` or has a folder in it is a path; None is the target's default recipe.
    Raises ConfigError for a name that the target does not have, for a file that is not a recipe,
    and for a type of storage that the target cannot hold.
    """
    name = target.default_recipe if name_or_path is None else name_or_path
    folder = recipe_folder(target)
    recipe = load_named(
        Recipe,
        name,
        folder,
        kind=f"recipe of the target '{target.name}' called",
        known=target.recipes,
        others=MIXES,
    )
    _check_storage(recipe, target, name if is_path(name) else str(folder / f"{name}.toml"))
    return recipe


def _check_storage(recipe: Recipe, target: TargetSpec, source: str) -> None:
    keys = {f"rules[{number}].storage": rule.storage for number, rule in enumerate(recipe.rules)}
    keys |= {
        f"assigned.{component}.{layer}": storage
        for component, layers in recipe.assigned.items()
        for layer, storage in layers.items()
    }
    named = {"storage": recipe.storage, "sensitive_storage": recipe.sensitive_storage}
    for key, storage in (named | keys).items():
        if storage is not None and storage not in target.storage:
            raise ConfigError(
                f"{source}: {key} is {storage!r:.82}, which the target '{target.name}' cannot "
                "hold.",
                hint=nearest(storage, target.storage),
            )


def recipe_folder(target: TargetSpec) -> Path:
    """Return the folder of a target's recipes."""
    return shipped("targets") / target.name / "recipes"
