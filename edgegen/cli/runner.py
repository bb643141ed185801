"""`edgegen runner`: what devices are given to run packages with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from edgegen_runner.runtimes import DEFAULT

from edgegen.cli.command import Command
from edgegen.cli.console import Cell, Console
from edgegen.core.units import format_bytes

if TYPE_CHECKING:
    from edgegen.runner.bundle.build import Bundle


@click.group()
def runner() -> None:
    """Build what devices are given to run packages with."""


@runner.command(
    cls=Command,
    short_help="Build a bundle for a device without Python.",
    examples=("edgegen runner build --platform android-arm64 -o bundle.tar",),
    ends_with=("MissingDependencyError", "ResourceError"),
)
@click.option(
    "--platform",
    required=True,
    metavar="NAME",
    help="android-arm64, or linux-arm64 for boards whose Python is too old, or that have none.",
)
@click.option("--runtime", default=DEFAULT.package, show_default=True, metavar="NAME")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the archive there, too: for a machine that cannot build it.",
)
@click.option("--refresh", is_flag=True, help="Build anew, with what Debian's archive has today.")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
@click.pass_obj
def build(
    console: Console,
    platform: str,
    runtime: str,
    output: Path | None,
    refresh: bool,
    as_json: bool,
) -> None:
    """Build a bundle: one tar file with Python, numpy, a runtime and their C library.

    It runs where nothing of that is installed: unpack it and start `sh FOLDER/python`. It is made
    of Debian's packages and PyPI's wheels, which are checked; nothing is installed here. It needs
    apt-get, dpkg-deb and Python 3.11 on this machine, and is kept in the cache.
    """
    from edgegen.runner.bundle.build import build_bundle, save_bundle

    bundle = build_bundle(platform, runtime=runtime, refresh=refresh, progress=console.progress)
    if output is not None:
        bundle = save_bundle(bundle, output)
    if as_json:
        console.json(
            {
                "platform": bundle.platform,
                "runtime": bundle.runtime,
                "id": bundle.id,
                "folder": bundle.folder,
                "archive": str(bundle.archive),
                "sha256": bundle.sha256,
                "size_bytes": bundle.size_bytes,
                "python": bundle.python,
                "parts": bundle.parts,
            }
        )
    else:
        _show(console, bundle)


def _show(console: Console, bundle: Bundle) -> None:
    rows: list[tuple[Cell, ...]] = [
        (part.name, part.version, part.licence, format_bytes(part.size_bytes))
        for part in bundle.parts
    ]
    console.table(
        f"{bundle.folder}: Python {bundle.python}, {bundle.runtime}",
        ("part", "version", "licence", "as fetched"),
        rows,
        notes=(
            f"{bundle.archive}: {format_bytes(bundle.size_bytes)}, sha256 {bundle.sha256}",
            "The folder licences/ in it has the texts. Who passes the bundle on, passes them on.",
        ),
    )
