"""Which packages a command line asks for: pairs of a target and a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.errors import ConfigError
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Recipe
from edgegen.core.targets import target_names


@dataclass(frozen=True, slots=True)
class Wanted:
    """One package to build; without a recipe it is the profile's, else the target's default.

    A recipe that was made for the model is one itself. More than `limit_bytes` it must not take.
    """

    target: str
    recipe: str | Recipe | None
    limit_bytes: int | None = None


def wanted_packages(
    targets: Sequence[str], recipes: Sequence[str], profile: DeviceProfile | None
) -> tuple[Wanted, ...]:
    """Return what `--target TARGET[:RECIPE]`, `--recipe` and `--profile` ask for, in order.

    A target with a recipe is one package; every other target is built with each of `recipes`.
    Without targets they are those of the profile's runtimes.

    Raises:
        ConfigError: there is neither a target nor a profile, or no target is left for `recipes`.
    """
    if not targets:
        if profile is None:
            raise ConfigError(
                "It is not said what to build: neither a target nor a device.",
                hint=f"Add --target ({', '.join(target_names())}), or --profile NAME for the "
                "targets of that device.",
            )
        targets = [options.target for options in profile.runtimes]
    pairs = [target.partition(":") for target in dict.fromkeys(targets)]
    if recipes and all(colon for _, colon, _ in pairs):
        raise ConfigError(
            f"--recipe {recipes[0]} has no target: each --target names its own recipe.",
            hint=f"Write --target {pairs[0][0]}:{recipes[0]}, or leave the recipes to --recipe.",
        )
    found = [
        Wanted(target, chosen)
        for target, colon, recipe in pairs
        for chosen in ((recipe,) if colon else recipes or (None,))
    ]
    return tuple(dict.fromkeys(found))
