"""`edgegen deploy`, and what manages the store that it fills: `rollback`, `status`, `prune`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from edgegen_runner.request import RESIDENCIES

from edgegen.cli.command import command
from edgegen.cli.completion import complete_package
from edgegen.cli.console import Console
from edgegen.cli.on_device import attached, device_option, patience_option, root_option
from edgegen.cli.on_package import check_package, chip_of, chip_option, verify_option
from edgegen.cli.shared_options import runtime_profile_option
from edgegen.core.units import format_bytes

if TYPE_CHECKING:
    from edgegen.devices.store import StoredPackage, StoredVersion
    from edgegen.runner.deployment import Deployment


@command(
    examples=(
        "edgegen deploy scenes/onnx-fp16-storage -d ssh://pi@raspberrypi.local",
        "edgegen deploy my-package -d adb://SERIAL --name scenes",
    ),
    ends_with=(
        "DeviceError",
        "RunnerError",
        "IntegrityError",
        "ResourceError",
    ),
)
@click.argument("package", type=click.Path(path_type=Path), shell_complete=complete_package)
@device_option()
@root_option
@click.option("--name", help="The package's name there. Default: model, target and recipe.")
@click.option(
    "--residency",
    type=click.Choice(RESIDENCIES),
    default="all",
    show_default=True,
    help="For the golden case: keep all components in memory, those that draw, or one at a time.",
)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    help="Execution provider for the golden case; may be repeated. Default: the profile's.",
)
@click.option("--runtime", metavar="NAME", help="Runtime for the golden case, where there are two.")
@runtime_profile_option
@chip_option
@verify_option
@patience_option
@click.option("--json", "as_json", is_flag=True, help="Write what was deployed as JSON.")
@click.pass_obj
def deploy(
    console: Console,
    package: Path,
    device: str,
    name: str | None,
    residency: str,
    providers: tuple[str, ...],
    runtime: str | None,
    profile: str | None,
    chip: str | None,
    verify: bool,
    patience_s: float,
    as_json: bool,
) -> None:
    """Push PACKAGE to a device, run its golden case there, and only then switch to it.

    Only what the device lacks travels, by content; an interrupted push goes on where it was. What
    was current stays current until every byte is verified, the device has made the right image and,
    where its profile limits memory, has drawn within that.
    """
    from edgegen.core.manifest import load_manifest
    from edgegen.devices.profiles import load_profile
    from edgegen.runner.backend_choice import Wishes
    from edgegen.runner.deployment import deploy as put

    chosen = None if profile is None else load_profile(profile)
    manifest = load_manifest(package)
    wishes = Wishes(
        profile=chosen,
        runtime=runtime,
        providers=providers,
        chip=chip_of(manifest, chip, chosen),
    )
    check_package(console, package, manifest, device, verify=verify)
    with attached(device, console.progress, console.note) as connected:
        done = put(
            connected,
            package,
            name=name,
            residency=residency,  # type: ignore[arg-type]  # click checked
            wishes=wishes,
            progress=console.progress,
            patience_s=patience_s,
        )
    if as_json:
        console.json(done)
    else:
        _show(console, done)


def _show(console: Console, done: Deployment) -> None:
    stored = done.stored
    sent = format_bytes(stored.sent_bytes)
    console.print(
        f"{stored.name} {stored.version} is current on {done.device}: "
        f"{format_bytes(stored.size_bytes)}, of which {sent} travelled."
    )
    if done.checks:
        console.print(f"Golden case there: {len(done.checks)} of {len(done.checks)} checks passed.")
    else:
        console.warn("The package has no golden case: its images were not checked there.")
    if done.memory is not None:
        taken = format_bytes(done.memory.peak_bytes)
        console.print(
            f"Memory there: {taken} ({done.memory.plan.words}), within the profile's limit."
        )
    if done.emulated:
        console.print("The device is emulated.")
    if done.before is not None and done.before != stored.version:
        console.print(
            f"Before: {done.before}. Back: edgegen rollback {stored.name} -d {done.device}"
        )


@command(
    examples=("edgegen rollback scenes-onnx-fp16-storage -d ssh://pi@raspberrypi.local",),
    ends_with=("DeviceError",),
)
@click.argument("name")
@device_option()
@root_option
@click.option("--json", "as_json", is_flag=True, help="Write the two versions as JSON.")
@click.pass_obj
def rollback(console: Console, name: str, device: str, as_json: bool) -> None:
    """Make the version of package NAME current that was so before, on a device.

    NAME is as `edgegen status` lists it. There must be an earlier version: a package that was
    deployed once has none. The version that is left stays on the device until `prune`; `deploy`
    makes it current again.
    """
    from edgegen.devices.store import checked_name
    from edgegen.devices.store import rollback as go_back

    checked_name(name)
    with attached(device, console.progress, console.note) as connected:
        connected.agent.lock(f"rollback {name}")
        before, now = go_back(connected, name)
    if as_json:
        console.json({"name": name, "before": before, "current": now})
    else:
        console.print(f"{name} on {device}: {now} is current, {before} was.")


@command(
    examples=("edgegen status -d ssh://pi@raspberrypi.local",),
    ends_with=("DeviceError",),
)
@device_option()
@root_option
@click.option("--json", "as_json", is_flag=True, help="Write the store as JSON.")
@click.pass_obj
def status(console: Console, device: str, as_json: bool) -> None:
    """List the packages on a device, their versions, and which one is current."""
    from edgegen.devices.store import status as look

    with attached(device, console.progress, console.note) as connected:
        packages, facts = look(connected), connected.facts
    if as_json:
        console.json({"device": device, "free_bytes": facts.free_bytes, "packages": packages})
        return
    free = "unknown" if facts.free_bytes is None else format_bytes(facts.free_bytes)
    if not packages:
        console.print(f"Nothing is deployed on {device}; {free} free in {facts.root}.")
        return
    notes = [f"{each.name}: {each.path}" for each in packages if each.current is not None]
    console.table(
        f"Packages on {device}",
        ("name", "version", "", "size", "deployed at (UTC)", "by"),
        [row for package in packages for row in _rows(package)],
        [*notes, f"{free} free in {facts.root}."],
    )


def _rows(package: StoredPackage) -> list[tuple[str | None, ...]]:
    return [
        (
            package.name,
            each.version,
            _state(each, package.current),
            format_bytes(each.size_bytes),
            each.at,
            each.by,
        )
        for each in package.versions
    ]


def _state(version: StoredVersion, current: str | None) -> str:
    words = ["current"] if version.version == current else []
    if version.rolled_back_at is not None:
        words.append("rolled back")
    return ", ".join([*words, *([] if version.whole else ["not whole"])])


@command(
    examples=("edgegen prune -d ssh://pi@raspberrypi.local --keep 0",),
    ends_with=("DeviceError",),
)
@device_option()
@root_option
@click.option("--name", help="Only this package's versions.")
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Versions to keep beside the current one, the latest first.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Write what was removed as JSON.")
@click.pass_obj
def prune(
    console: Console, device: str, name: str | None, keep: int, dry_run: bool, as_json: bool
) -> None:
    """Remove old versions from a device, and what nothing there uses any more.

    What is current is never removed. Versions that were pushed and never became current go, too.
    A full device has room for this: nothing is stored there first.
    """
    from edgegen.devices.store import checked_name
    from edgegen.devices.store import prune as remove

    if name is not None:
        checked_name(name)
    with attached(device, console.progress, console.note) as connected:
        if not dry_run:
            connected.agent.lock("prune")
        done = remove(connected, keep=keep, name=name, dry_run=dry_run)
    if as_json:
        console.json({"dry_run": dry_run, **asdict(done)})
        return
    verb = "Would remove" if dry_run else "Removed"
    for package, version in done.versions:
        console.print(f"{verb}: {package} {version}")
    for other in done.others:
        console.print(f"{verb}: {other}")
    freed = f"{format_bytes(done.freed_bytes)} {'would be' if dry_run else 'are'} free again"
    console.print(f"{freed} ({done.blobs} files that no version uses).")
