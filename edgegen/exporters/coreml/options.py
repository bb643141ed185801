"""What Core ML decides of a package: the oldest system, the form of attention, where to cut."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.errors import ConfigError
from edgegen.core.profile import Attention, DeviceProfile, RuntimeOptions
from edgegen.core.recipe import Recipe
from edgegen.core.target import TargetSpec
from edgegen.exporters.options import TargetOptions

OLDEST_OS = 16
"""The first version of iOS with compressed weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMlOptions(TargetOptions):
    """`minimum_os` is a version of iOS, `attention` the form that the device's processor likes.

    A component's file that takes more than `file_limit_bytes` is cut in two.
    """

    minimum_os: int = OLDEST_OS
    attention: Attention = "original"
    file_limit_bytes: int | None = None


def resolve(
    target: TargetSpec, recipe: Recipe, runtime: RuntimeOptions, profile: DeviceProfile | None
) -> CoreMlOptions:
    """Return Core ML's options: the profile's oldest system, or the one that a recipe needs.

    Raises ConfigError for weights in a form that the profile's oldest system cannot read.
    """
    needs = _systems(target, recipe)
    needed, asked = max(needs.values()), runtime.minimum_os
    if profile is not None and asked is not None and needed > asked:
        latest = max(needs, key=lambda storage: needs[storage])
        raise ConfigError(
            f"The recipe '{recipe.name}' stores weights as {latest}, which {target.title} can hold "
            f"from iOS {needed} on (macOS {needed - 3}), and the profile '{profile.name}' asks for "
            f"iOS {asked}.",
            hint=f"Choose another recipe, or set minimum_os = {needed} in the profile.",
        )
    return CoreMlOptions(
        minimum_os=needed if asked is None else asked,
        attention=runtime.attention,
        file_limit_bytes=runtime.file_limit_bytes,
    )


def _systems(target: TargetSpec, recipe: Recipe) -> dict[str, int]:
    """Return the oldest version of iOS that reads each type in which a recipe stores weights."""
    oldest = target.minimum_os or OLDEST_OS
    since = {item.storage: item.minimum_os for item in target.storage_since}
    grouped = target.palette_groups_since if recipe.palette_channels is not None else None
    return {
        storage: max(since.get(storage, oldest), grouped or oldest) for storage in recipe.storages
    }
