"""Decides what a build does, before anything is written: a value that can be printed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.profile import DeviceProfile, Shapes
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.core.units import format_bytes
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.candidate import (
    Candidate,
    Npu,
    Prediction,
    make_candidate,
    predict,
    runtime_of,
)
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.other_runtimes import lost_elsewhere
from edgegen.packaging.predicted import largest_weight
from edgegen.packaging.replace import require_replaceable
from edgegen.packaging.wanted import Wanted

ROOM_BYTES = 64 << 20
"""What is left free on the disk besides the packages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """One package to build: what it is, how large it will be, where it comes from and goes.

    `warnings` say what the device will probably not hold, and what will not be drawn everywhere. A
    package that takes more than `limit_bytes` isn't kept.
    """

    candidate: Candidate
    prediction: Prediction
    model: Path
    destination: Path
    force: bool
    warnings: tuple[str, ...] = ()
    limit_bytes: int | None = None

    @property
    def name(self) -> str:
        """Return what the package is called among others: `tflite int8-dynamic`."""
        return f"{self.candidate.target.name} {self.candidate.recipe.name}"


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
    cache_interval: int | None = None,
    force: bool = False,
    in_folder_of_its_own: bool = False,
) -> BuildPlan:
    """Plan one package of `model`; see `read_facts` and `plan_package`."""
    facts = read_facts(
        model, scheduler=scheduler, steps=steps, guidance=guidance, cache_interval=cache_interval
    )
    return plan_package(
        facts,
        target=target,
        destination=destination,
        profile=profile,
        recipe=recipe,
        width=width,
        height=height,
        force=force,
        in_folder_of_its_own=in_folder_of_its_own,
    )


def plan_package(
    facts: ModelFacts,
    *,
    target: str,
    destination: Path,
    profile: DeviceProfile | None = None,
    recipe: str | Recipe | None = None,
    width: int | None = None,
    height: int | None = None,
    force: bool = False,
    in_folder_of_its_own: bool = False,
    limit_bytes: int | None = None,
    lora_as_input: bool = False,
    npu: Npu | None = None,
    part_bytes: int | None = None,
    shapes: Shapes | None = None,
) -> BuildPlan:
    """Plan a package of a model that was read, for a target.

    With `in_folder_of_its_own` the package goes to `<target>-<recipe>` beside `destination`. The
    recipe comes from the profile unless it is given, or is the target's default.

    Raises ConfigError for an unknown target or recipe, what `make_candidate` refuses, and a
    destination that must not be replaced, and ResourceError where the disk cannot hold the package.
    """
    target_spec = load_target(target)
    runtime = runtime_of(profile, target_spec, npu)
    chosen = recipe
    if not isinstance(chosen, Recipe):
        chosen = load_recipe(chosen or runtime.recipe, target_spec)
    candidate = make_candidate(
        facts,
        target_spec,
        chosen,
        profile=profile,
        width=width,
        height=height,
        lora_as_input=lora_as_input,
        npu=npu,
        part_bytes=part_bytes,
        shapes=shapes,
    )
    if in_folder_of_its_own:
        name = "-".join((target, chosen.name, *candidate.runtime.chips))
        destination = destination.with_name(name)
    prediction = predict(candidate, facts)
    plan = BuildPlan(
        candidate=candidate,
        prediction=prediction,
        model=facts.folder,
        destination=destination,
        force=force,
        warnings=(
            *_device_warnings(profile, prediction.component_bytes),
            *_buffer_warnings(candidate, facts),
            *lost_elsewhere(candidate.spec, facts.folder, candidate.target),
        ),
        limit_bytes=limit_bytes,
    )
    require_replaceable(destination, force=force)
    require_room([plan])
    return plan


def plan_packages(
    facts: ModelFacts,
    wanted: Sequence[Wanted],
    base: Path,
    *,
    profile: DeviceProfile | None,
    width: int | None,
    height: int | None,
    force: bool,
    in_folders: bool,
    one_picture: bool,
    lora_as_input: bool = False,
    npu: Npu | None = None,
    part_bytes: int | None = None,
    shapes: Shapes | None = None,
) -> tuple[BuildPlan, ...]:
    """Plan the packages of one command: to `base`, or `in_folders` to `<target>-<recipe>` in it.

    With `one_picture` what all of them draw goes into one picture. Raises what `plan_package` does,
    and ConfigError for images of different sizes in one picture.
    """
    plans = tuple(
        plan_package(
            facts,
            target=each.target,
            destination=base / each.target if in_folders else base,
            profile=profile,
            recipe=each.recipe,
            width=width,
            height=height,
            force=force,
            in_folder_of_its_own=in_folders,
            limit_bytes=each.limit_bytes,
            lora_as_input=lora_as_input,
            npu=npu,
            part_bytes=part_bytes,
            shapes=shapes,
        )
        for each in wanted
    )
    drawn = (plan.candidate.spec.generation for plan in plans)
    if one_picture and profile and len({(it.width, it.height) for it in drawn}) > 1:
        raise ConfigError(
            f"The profile '{profile.name}' gives its targets images of different sizes, and one "
            "picture is drawn of all.",
            hint="Give --width and --height, one target, or --skip-parity.",
        )
    require_room(plans)
    return plans


def require_room(plans: Sequence[BuildPlan]) -> None:
    """Raise ResourceError where the disk cannot hold packages that go to the same place."""
    folder = plans[0].destination.absolute().parent
    while not os.path.exists(folder):  # unlike Path.exists, false for a name that is too long
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = sum(plan.prediction.package_bytes for plan in plans) + ROOM_BYTES
    if free < needed:
        what = "package takes" if len(plans) == 1 else f"{len(plans)} packages take"
        raise ResourceError(
            f"The {what} about {format_bytes(needed)}, and the disk that holds {folder} has "
            f"{format_bytes(free)} free.",
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


def _buffer_warnings(candidate: Candidate, facts: ModelFacts) -> tuple[str, ...]:
    """Say where a single weight is larger than a buffer of the device may be."""
    profile = candidate.profile
    limit = None if profile is None else profile.largest_buffer_bytes
    if profile is None or limit is None:
        return ()
    found = (
        (
            component.name,
            *largest_weight(candidate.recipe, component, facts.weights[component.name]),
        )
        for component in candidate.spec.components
    )
    name, layer, size = max(found, key=lambda it: it[2])
    if size <= limit:
        return ()
    return (
        f"{layer} of {name} takes {format_bytes(size)} in one buffer, and {profile.title} refuses "
        f"one above {format_bytes(limit)}, whatever else is free.",
    )
