"""`edgegen profiles`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgegen.cli.command import command
from edgegen.cli.completion import complete_profile, known_profiles
from edgegen.cli.console import Cell, Console
from edgegen.core.units import format_bytes

if TYPE_CHECKING:
    from edgegen.core.profile import DeviceProfile


@command(
    examples=("edgegen profiles", "edgegen profiles raspberry-pi-5"),
    values={"NAME": known_profiles},
)
@click.argument("name", required=False, shell_complete=complete_profile)
@click.option("--json", "as_json", is_flag=True, help="Write the profiles as JSON.")
@click.pass_obj
def profiles(console: Console, name: str | None, as_json: bool) -> None:
    """List the devices that are known, or show the one called NAME.

    NAME is a profile's name, `host` for this machine, or the path of a TOML file.
    """
    from edgegen.devices.profiles import list_profiles, load_profile
    from edgegen.devices.roads import roads_of

    found = (load_profile(name),) if name else (load_profile("host"), *list_profiles())
    if as_json:
        roads = {profile.name: roads_of(profile) for profile in found}
        console.json({"profiles": found, "roads": roads})
    elif name:
        _show_one(console, found[0])
    else:
        _show_all(console, found)


def _show_all(console: Console, found: tuple[DeviceProfile, ...]) -> None:
    rows = [
        (
            profile.name,
            profile.title,
            profile.kind,
            format_bytes(profile.hardware.memory_bytes),
            format_bytes(profile.application_memory_bytes),
            ", ".join(dict.fromkeys(options.recipe for options in profile.runtimes)),
        )
        for profile in found
    ]
    columns = ("name", "device", "kind", "memory", "for an application", "recipe")
    notes = ("edgegen profiles NAME shows one, with the sources of its figures.",)
    console.table("Device profiles", columns, rows, notes)


def _show_one(console: Console, profile: DeviceProfile) -> None:
    from edgegen.cli.roads import show_roads
    from edgegen.devices.roads import roads_of

    hardware = profile.hardware
    sources = {figure: source for source in profile.sources for figure in source.figures}

    def row(label: str, figure: str, value: Cell) -> tuple[Cell, ...]:
        source = sources.get(figure)
        return (label, value, source.title if source else None)

    throttle_c, critical_c = profile.thermal.throttle_c, profile.thermal.critical_c
    rows = [
        row("processor", "soc", hardware.soc),
        row("cores", "cpu", hardware.cpu),
        row("architecture", "architecture", f"{profile.architecture}, {profile.os}"),
        row("memory", "memory_bytes", format_bytes(hardware.memory_bytes)),
        row(
            "for an application",
            "application_memory_bytes",
            format_bytes(profile.application_memory_bytes),
        ),
        row("largest buffer", "largest_buffer_bytes", format_bytes(profile.largest_buffer_bytes)),
        row("GPU", "gpu", hardware.gpu),
        row("NPU", "npu", hardware.npu),
        row("chip", "chip", hardware.chip),
        row("slows down at", "throttle_c", None if throttle_c is None else f"{throttle_c:g} °C"),
        row("shuts down at", "critical_c", None if critical_c is None else f"{critical_c:g} °C"),
        ("sensors", ", ".join(profile.sensors) or None, None),
    ]
    console.table(profile.title, ("", "figure", "source"), rows)
    runtimes = [
        (
            options.target,
            options.package,
            options.recipe,
            ", ".join(options.providers) or None,
            options.operators,
            options.shapes,
            options.threads,
            None if options.minimum_os is None else f"iOS {options.minimum_os}",
            options.attention if options.target == "coreml" else None,
        )
        for options in profile.runtimes
    ]
    columns = (
        "target",
        "package",
        "recipe",
        "providers",
        "operators",
        "shapes",
        "threads",
        "oldest system",
        "attention",
    )
    links = {source.url for source in profile.sources if source.url}
    notes = [profile.notes.strip(), *sorted(links)]
    console.table("Runtimes", columns, runtimes, [note for note in notes if note])
    show_roads(console, roads_of(profile))
