"""`edgegen devices`: lists what is attached, shows one, sets one up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from edgegen_runner.runtimes import DEFAULT

from edgegen.cli.command import VERBOSE, Command
from edgegen.cli.console import Console
from edgegen.cli.on_device import DEVICE, chosen_root, root_option
from edgegen.core.units import format_bytes
from edgegen.runner.runtimes import pinned_packages

if TYPE_CHECKING:
    from edgegen.devices.discovery import Listing


@click.group(invoke_without_command=True, params=[VERBOSE])
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON.")
@click.pass_context
def devices(context: click.Context, as_json: bool) -> None:
    """List this machine, what adb sees, and the ssh devices that were used before.

    For each: what it is, its memory and storage, the runtimes that are there, its temperature, the
    profile that fits, and what it lacks. A new ssh device is shown by: edgegen devices show
    ssh://[user@]host
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise click.UsageError(
                f"--json comes after '{context.invoked_subcommand}'.", ctx=context
            )
        return
    from edgegen.devices.discovery import attached, survey
    from edgegen.runner.pack import pack_runner
    from edgegen.runner.provision import why_not

    console = context.find_object(Console) or Console()
    found = attached()
    asked = [listing.address for listing in found if not listing.problem]
    with console.progress.step("ask the devices", total=len(asked), unit="items"):
        answers = {listing.address: listing for listing in survey(asked, pack_runner(), why_not)}
    listings = [answers.get(listing.address, listing) for listing in found]
    if as_json:
        console.json({"devices": listings})
        return
    _show_all(console, listings)


@devices.command(
    cls=Command,
    examples=("edgegen devices show ssh://pi@raspberrypi.local",),
    ends_with=("DeviceError",),
)
@click.argument("addresses", metavar="DEVICE...", nargs=-1, required=True, type=DEVICE)
@root_option
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON.")
@click.pass_obj
def show(console: Console, addresses: tuple[str, ...], as_json: bool) -> None:
    """Say what a DEVICE is, has and lacks."""
    from edgegen.core.errors import DeviceError
    from edgegen.devices.discovery import survey
    from edgegen.devices.known import remember
    from edgegen.devices.roots import root_for
    from edgegen.devices.transports import LOCAL, open_transport
    from edgegen.runner.pack import pack_runner
    from edgegen.runner.provision import why_not

    root = chosen_root()
    for address in addresses:
        open_transport(address, root)  # an address of no known form is refused before any is asked
    with console.progress.step("ask the devices", total=len(addresses), unit="items"):
        listings = survey(addresses, pack_runner(), why_not, root=root)
    for listing in listings:
        if listing.address != LOCAL and not listing.problem:
            remember(listing.address, root_for(listing.address, root))
    if as_json:
        console.json({"devices": listings})
    else:
        for listing in listings:
            if len(listings) > 1 or not listing.problem:  # else the error says it all
                _show_one(console, listing)
    failed = [listing for listing in listings if listing.problem]
    if failed and len(failed) == len(listings):
        raise DeviceError(failed[0].problem, hint=failed[0].hint)


@devices.command(
    cls=Command,
    examples=(
        "edgegen devices setup ssh://pi@raspberrypi.local",
        "edgegen devices setup ssh://pi@raspberrypi.local --runtime ai_edge_litert",
    ),
    ends_with=("MissingDependencyError", "DeviceError", "ResourceError"),
)
@click.argument("device", metavar="DEVICE", type=DEVICE)
@root_option
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Install the wheels of this folder; nothing is downloaded.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Push this bundle of `edgegen runner build`, with its own Python; needs no Python there.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=f"{', '.join(pinned_packages())}: beside those that the device has; default: "
    f"{DEFAULT.package}, where it has none. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Write what is there now as JSON.")
@click.pass_obj
def setup(
    console: Console,
    device: str,
    wheels: Path | None,
    bundle: Path | None,
    runtimes: tuple[str, ...],
    as_json: bool,
) -> None:
    """Give a DEVICE what the runner needs, in a folder of edgegen's own; nothing else is touched.

    A board gets a virtual environment with numpy and a runtime from pinned wheels, which are
    fetched here: the device needs neither pip nor a network. Android, and a board without a Python
    that is new enough, gets a bundle.
    """
    from edgegen.core.errors import ConfigError
    from edgegen.devices.known import remember
    from edgegen.devices.roots import root_for
    from edgegen.runner.provision import set_up

    if wheels is not None and bundle is not None:
        raise ConfigError("--wheels and --bundle exclude each other.", hint="Give one of them.")
    root = root_for(device, chosen_root())
    done = set_up(
        device,
        root=root,
        wheels=wheels,
        bundle=bundle,
        runtimes=runtimes,
        progress=console.progress,
    )
    remember(device, root)
    if as_json:
        console.json(done)
        return
    packages = ", ".join(f"{name} {version}" for name, version in done.packages.items())
    console.print(f"{device} is ready: Python {done.python}, {packages}, in {done.place}.")
    if done.removed:
        removed = ", ".join(f"{name} {version}" for name, version in done.removed.items())
        console.print(f"No longer used there: {removed}.")


@devices.command(cls=Command, examples=("edgegen devices forget ssh://pi@raspberrypi.local",))
@click.argument("device", metavar="DEVICE", type=DEVICE)
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON.")
@click.pass_obj
def forget(console: Console, device: str, as_json: bool) -> None:
    """Take a DEVICE off the list of those that were used from here; nothing on it changes."""
    from edgegen.core.errors import ConfigError
    from edgegen.devices.known import forget as remove
    from edgegen.devices.known import known

    if not remove(device):
        raise ConfigError(
            f"{device} is not on the list.", hint=f"On it: {', '.join(known()) or 'none'}."
        )
    if as_json:
        console.json({"forgotten": device, "known": known()})
    else:
        console.print(f"{device} is no longer listed.")


def _show_all(console: Console, listings: list[Listing]) -> None:
    rows = [
        (
            listing.address,
            _state(listing),
            listing.model or listing.processor,
            _size(listing.available_memory_bytes, listing.memory_bytes),
            None if listing.free_bytes is None else format_bytes(listing.free_bytes),
            _runtimes(listing),
            None if listing.temperature_c is None else f"{listing.temperature_c:.0f} °C",
            listing.profile,
        )
        for listing in listings
    ]
    columns = ("device", "", "model", "memory free", "storage free", "runtimes", "at", "profile")
    console.table("Devices", columns, rows, [note for each in listings for note in _notes(each)])


def _show_one(console: Console, listing: Listing) -> None:
    cores = "" if listing.cores is None else f"{listing.cores} × "
    quota, limit = listing.cpu_quota, listing.memory_limit_bytes
    rows = [
        ("state", _state(listing)),
        ("model", listing.model),
        ("system", listing.system),
        ("processor", None if listing.processor is None else f"{cores}{listing.processor}"),
        ("CPU quota", None if quota is None else f"{quota:g} cores' time, by its control group"),
        ("memory free", _size(listing.available_memory_bytes, listing.memory_bytes)),
        ("memory limit", None if limit is None else f"{format_bytes(limit)}, by its control group"),
        ("storage free", None if listing.free_bytes is None else format_bytes(listing.free_bytes)),
        ("Python", listing.python),
        ("runtimes", _runtimes(listing)),
        (
            "temperature",
            None if listing.temperature_c is None else f"{listing.temperature_c:.1f} °C",
        ),
        ("held back now", ", ".join(listing.held_back) or None),
        ("since its boot", ", ".join(listing.held_back_since_boot) or None),
        ("sensors", ", ".join(listing.sensors) or None),
        ("profile", listing.profile),
        ("NPU", None if listing.chip is None else f"that of {listing.chip}"),
    ]
    known = [row for row in rows if row[1] is not None]
    console.table(listing.address, ("", ""), known, _notes(listing))


def _state(listing: Listing) -> str:
    if listing.problem:
        return "not usable"
    return ("ready" if listing.is_ready else "not set up") + (
        " (emulated)" if listing.emulated else ""
    )


def _notes(listing: Listing) -> list[str]:
    notes = []
    if listing.problem:
        hint = f" {listing.hint}" if listing.hint else ""
        notes.append(f"{listing.address}: {listing.problem}{hint}")
    if listing.held_back:
        told = " ".join([", ".join(listing.held_back) + ".", *listing.remedies])
        notes.append(f"{listing.address} is held back: {told}")
    notes += [f"{listing.address} lacks {lack.what}: {lack.command}" for lack in listing.lacks]
    notes += [f"{listing.address}: {warning}" for warning in listing.warnings]
    return notes


def _runtimes(listing: Listing) -> str | None:
    if not listing.packages:
        return None
    return ", ".join(
        f"{name} {version}" for name, version in listing.packages.items() if name != "numpy"
    )


def _size(free: int | None, total: int | None) -> str | None:
    if total is None:
        return None
    return format_bytes(total) if free is None else f"{format_bytes(free)} of {format_bytes(total)}"
