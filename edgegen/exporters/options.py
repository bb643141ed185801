"""What a target decides of a package besides what every package has."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.profile import DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """Options of a target, resolved; one that has more adds them in a class derived from this.

    `minimum_os` is the oldest version of the operating system that the package is for, None where
    the target ties it to none.
    """

    minimum_os: int | None = None


def resolve_none(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> TargetOptions:
    """Return the options of a target that has none."""
    return TargetOptions()
