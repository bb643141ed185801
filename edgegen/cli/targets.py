"""`edgegen targets`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_target_name, known_targets
from edgegen.cli.console import Console

if TYPE_CHECKING:
    from edgegen.core.target import TargetSpec


@command(examples=("edgegen targets", "edgegen targets onnx"), values={"NAME": known_targets})
@click.argument("name", required=False, shell_complete=complete_target_name)
@click.option("--json", "as_json", is_flag=True, help="Write the targets as JSON.")
@click.pass_obj
def targets(console: Console, name: str | None, as_json: bool) -> None:
    """List the package formats, or show the one called NAME.

    Shown are the families it holds, its recipes, and which peers load its packages.
    """
    from edgegen.core.targets import load_target, load_targets

    found = (load_target(name),) if name else tuple(load_targets().values())
    if as_json:
        console.json({"targets": [_as_json(target) for target in found]})
    elif name:
        _show_one(console, found[0])
    else:
        _show_all(console, found)


def _as_json(target: TargetSpec) -> dict[str, object]:
    from edgegen.core.codec import encode
    from edgegen.core.recipes import load_recipe
    from edgegen.devices.profiles import list_profiles
    from edgegen.devices.roads import roads_to
    from edgegen.doctor.software import missing_for
    from edgegen.families import held_families

    return {
        **encode(target),
        "roads": encode(roads_to(target.name, list_profiles())),
        "families": held_families(target),
        "missing": missing_for(target.extra),
        "recipes": [encode(load_recipe(name, target)) for name in target.recipes],
    }


def _show_all(console: Console, found: tuple[TargetSpec, ...]) -> None:
    from edgegen.doctor.requirements import install_command
    from edgegen.doctor.software import missing_for

    rows = []
    notes = ["edgegen targets NAME shows one."]
    for target in found:
        missing = missing_for(target.extra)
        recipes = ", ".join(target.recipes)
        rows.append((target.name, target.description, recipes, "no" if missing else "yes"))
        if missing:
            notes.append(
                f"{target.name} needs {', '.join(missing)}: {install_command(target.extra)}"
            )
    console.table("Targets", ("name", "package", "recipes", "installed"), rows, notes)


def _show_one(console: Console, target: TargetSpec) -> None:
    from edgegen_runner.runtimes import of_target

    from edgegen.cli.roads import show_roads
    from edgegen.core.chips import COMPILED_TARGET, list_chips
    from edgegen.core.recipes import load_recipe
    from edgegen.devices.profiles import list_profiles
    from edgegen.devices.roads import roads_to
    from edgegen.doctor.requirements import install_command
    from edgegen.doctor.software import missing_for
    from edgegen.families import held_families

    recipes = [load_recipe(name, target) for name in target.recipes]
    rows = [
        (
            f"{recipe.name} (default)" if recipe.name == target.default_recipe else recipe.name,
            recipe.description,
            recipe.storage,
            recipe.compute,
            len(recipe.rules),
            recipe.tolerance.image_psnr_db,
        )
        for recipe in recipes
    ]
    columns = ("recipe", "what it does", "storage", "compute", "rules", "image, least dB")
    missing = missing_for(target.extra)
    runtimes = ", ".join(runtime.name for runtime in of_target(target.name))
    notes = [f"Families: {', '.join(held_families(target))}.", f"Runtimes: {runtimes}."]
    if target.name == COMPILED_TARGET:
        chips = ", ".join(chip.name for chip in list_chips())
        notes.append(
            f"NPUs: --npu compiles for {chips}. It is proved in Qualcomm's emulator, "
            "and has run on no real NPU yet."
        )
    if missing:
        notes.append(f"Missing: {', '.join(missing)}. {install_command(target.extra)}")
    console.table(f"{target.title}: {target.description}", columns, rows, notes)
    show_roads(console, roads_to(target.name, list_profiles()))
    cells = [
        (
            cell.family,
            cell.scheduler,
            cell.result,
            cell.loader,
            f"{cell.runtime} {cell.runtime_version}",
            cell.why,
        )
        for cell in target.compatibility
    ]
    if cells:
        columns = ("family", "scheduler", "result", "loader", "runtime", "why")
        console.table("Measured compatibility", columns, cells)
    else:
        console.print("Compatibility with peers: not measured yet.")
