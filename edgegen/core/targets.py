"""Reads the targets' facts: `targets/<name>/target.toml`."""

from __future__ import annotations

from collections.abc import Mapping

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.shipped import shipped
from edgegen.core.target import TargetSpec

TARGET_FILE = "target.toml"


def target_names() -> tuple[str, ...]:
    """Return the names of all targets, sorted."""
    return tuple(sorted(path.parent.name for path in shipped("targets").glob(f"*/{TARGET_FILE}")))


def load_target(name: str) -> TargetSpec:
    """Read one target.

    Raises ConfigError, with the nearest name, where there is no such target.
    """
    names = target_names()
    if name not in names:
        raise ConfigError(f"There is no target '{name}'.", hint=nearest(name, names))
    path = shipped("targets") / name / TARGET_FILE
    target = load_toml(TargetSpec, path)
    if target.name != name:
        raise ConfigError(f"{path}: name is '{target.name}'.", hint=f"Write '{name}', its folder.")
    if target.default_recipe not in target.recipes:
        raise ConfigError(
            f"{path}: default_recipe is '{target.default_recipe}'.",
            hint=nearest(target.default_recipe, target.recipes),
        )
    return target


def load_targets() -> Mapping[str, TargetSpec]:
    """Read all targets, by name."""
    return {name: load_target(name) for name in target_names()}
