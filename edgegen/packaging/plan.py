"""Decides what a build does, before anything is written: a value that can be printed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen.core.errors import ConfigError, ResourceError, nearest
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.profile import Attention, DeviceProfile, OperatorSet, Shapes
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target
from edgegen.core.units import format_bytes
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.models.scheduler import scheduler_config
from edgegen.models.timesteps import has_whole_timesteps
from edgegen.packaging.axes import fix_axes, timestep_for_each, used_outputs, whole_timestep
from edgegen.packaging.drawing import drawn_with
from edgegen.packaging.image_size import at_size
from edgegen.packaging.other_runtimes import lost_elsewhere
from edgegen.packaging.predicted import component_bytes, golden_bytes, small_bytes
from edgegen.packaging.replace import require_replaceable

ROOM_BYTES = 64 << 20
"""What is left free on the disk besides the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """One package to build.

    `components` are those of the model, with the axes that the artifact fixes as numbers.
    `storage_bytes` is what each of them will take, `small_bytes` what is copied and written beside
    them, `golden_bytes` the golden case; `warnings` say what the device will probably not hold, and
    what will not be drawn everywhere.
    """

    spec: PipelineSpec
    model: Path
    target: TargetSpec
    profile: DeviceProfile | None
    recipe: Recipe
    operators: OperatorSet
    shapes: Shapes
    minimum_os: int | None
    attention: Attention
    file_limit_bytes: int | None
    components: tuple[Component, ...]
    destination: Path
    force: bool
    storage_bytes: Mapping[str, int]
    small_bytes: int
    golden_bytes: int
    warnings: tuple[str, ...] = ()

    @property
    def package_bytes(self) -> int:
        """Return about how large the package will be, with its golden case."""
        return sum(self.storage_bytes.values()) + self.small_bytes + self.golden_bytes


def plan(
    model: ModelFolder,
    *,
    target: str,
    destination: Path,
    profile: DeviceProfile | None = None,
    recipe: str | None = None,
    width: int | None = None,
    height: int | None = None,
    scheduler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    force: bool = False,
    in_folder_of_its_own: bool = False,
) -> BuildPlan:
    """Plan a package of `model` for a target, from configs and headers alone.

    With `in_folder_of_its_own` the package goes to `<target>-<recipe>` beside `destination`.
    The recipe, the operators, the size of images and whether axes are dynamic come from the
    profile unless told; scheduler, steps and guidance from the model. Raises SourceError for a
    model that cannot be read, ConfigError for an unknown target or recipe, a family that the
    target lacks, a size that the model cannot draw, a scheduler that the runner lacks, and a
    destination that must not be replaced, and ResourceError where the disk cannot hold the
    package.
    """
    target_spec = load_target(target)
    spec = read_pipeline(model)
    why = target_spec.lacks(spec.family)
    if why is not None:
        raise ConfigError(
            f"The target '{target}' cannot hold a {spec.family} pipeline: {why}.",
            hint="Give another with --target: edgegen inspect names those that can.",
        )
    runtime = None if profile is None else profile.runtime(target)
    if profile is not None and runtime is None:
        raise ConfigError(
            f"The profile '{profile.name}' has no runtime for the target '{target}'.",
            hint=nearest(target, [options.target for options in profile.runtimes]),
        )
    spec = at_size(spec, runtime, width, height)
    spec = drawn_with(spec, model.path, scheduler=scheduler, steps=steps, guidance=guidance)
    chosen = load_recipe(recipe or (runtime.recipe if runtime else None), target_spec)
    if in_folder_of_its_own:
        destination = destination.with_name(f"{target}-{chosen.name}")
    _check_recipe(chosen, target_spec)
    minimum_os = _minimum_os(chosen, target_spec, profile)
    shapes: Shapes = runtime.shapes if runtime else target_spec.shapes[0]
    if shapes not in target_spec.shapes:
        raise ConfigError(
            f"The target '{target}' has no {shapes} shapes.",
            hint=f"Its axes are {' or '.join(target_spec.shapes)}: change the profile.",
        )
    batch = (runtime.denoiser_batch if runtime else None) or target_spec.denoiser_batch
    components = tuple(
        fix_axes(component, spec, shapes, denoiser_batch=batch) for component in spec.components
    )
    if target_spec.text_outputs == "used":
        components = tuple(used_outputs(component, spec) for component in components)
    if target_spec.whole_timesteps and has_whole_timesteps(
        scheduler_config(model.path, spec.scheduler)
    ):
        components = tuple(map(whole_timestep, components))
    if target_spec.timestep_for_each:
        components = tuple(map(timestep_for_each, components))
    storage = {
        component.name: component_bytes(
            target, chosen, component, model.path, text_length=spec.generation.text_length
        )
        for component in spec.components
    }
    plan = BuildPlan(
        spec=spec,
        model=model.path,
        target=target_spec,
        profile=profile,
        recipe=chosen,
        operators=runtime.operators if runtime else "contrib",
        shapes=shapes,
        minimum_os=minimum_os,
        attention=runtime.attention if runtime else "original",
        file_limit_bytes=runtime.file_limit_bytes if runtime else None,
        components=components,
        destination=destination,
        force=force,
        storage_bytes=storage,
        small_bytes=small_bytes(target, model.path, components=len(components)),
        golden_bytes=golden_bytes(replace(spec, components=components), model.path),
        warnings=(
            *_device_warnings(profile, storage),
            *lost_elsewhere(spec, model.path, target),
        ),
    )
    require_replaceable(destination, force=force)
    _check_disk(plan)
    return plan


def _check_recipe(recipe: Recipe, target: TargetSpec) -> None:
    """Raise ConfigError for a recipe of the user's own that the target's format cannot hold."""
    asked = {recipe.activations, *(rule.activations for rule in recipe.rules if rule.activations)}
    for kind in sorted(asked - set(target.activations)):
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for activations = \"{kind}\", which the target "
            f"'{target.name}' cannot hold.",
            hint=nearest(kind, target.activations),
        )


def _minimum_os(recipe: Recipe, target: TargetSpec, profile: DeviceProfile | None) -> int | None:
    """Return the oldest system for which the package is made: the profile's, or the recipe's own.

    Raises ConfigError for weights in a form that the profile's oldest system cannot read.
    """
    if recipe.palette_channels is not None and target.palette_groups_since is None:
        raise ConfigError(
            f"The recipe '{recipe.name}' asks for palettes of groups of channels, which the target "
            f"'{target.name}' cannot hold.",
            hint="Leave palette_channels out of the recipe.",
        )
    if target.minimum_os is None:
        return None
    since = {item.storage: item.minimum_os for item in target.storage_since}
    needs = {storage: since.get(storage, target.minimum_os) for storage in recipe.storages}
    if recipe.palette_channels is not None and target.palette_groups_since is not None:
        needs = {
            storage: max(least, target.palette_groups_since) for storage, least in needs.items()
        }
    needed = max(needs.values())
    runtime = None if profile is None else profile.runtime(target.name)
    asked = None if runtime is None else runtime.minimum_os
    if profile is None or asked is None:
        return needed
    if needed > asked:
        latest = max(needs, key=lambda storage: needs[storage])
        raise ConfigError(
            f"The recipe '{recipe.name}' stores weights as {latest}, which {target.title} can hold "
            f"from iOS {needed} on (macOS {needed - 3}), and the profile '{profile.name}' asks for "
            f"iOS {asked}.",
            hint=f"Choose another recipe, or set minimum_os = {needed} in the profile.",
        )
    return asked


def _check_disk(plan: BuildPlan) -> None:
    folder = plan.destination.absolute().parent
    while not os.path.exists(folder):  # unlike Path.exists, false for a name that is too long
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = plan.package_bytes + ROOM_BYTES
    if free < needed:
        raise ResourceError(
            f"The package takes about {format_bytes(needed)}, and the disk that holds {folder} "
            f"has {format_bytes(free)} free.",
            hint="Free some space, choose another folder with --output, or a smaller recipe.",
        )


def _device_warnings(profile: DeviceProfile | None, storage: Mapping[str, int]) -> tuple[str, ...]:
    if profile is None:
        return ()
    name, size = max(storage.items(), key=lambda item: item[1])
    limit = profile.application_memory_bytes
    if size <= limit:
        return ()
    return (
        f"{name} alone takes {format_bytes(size)}, and an application on {profile.title} may take "
        f"{format_bytes(limit)}: it will run only where the system gives mapped pages back, "
        "slowly.",
    )
