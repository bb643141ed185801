"""What commands share that run a package: it is checked before anything is computed with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.on_device import LOCAL
from edgegen.core.errors import ConfigError

if TYPE_CHECKING:
    from edgegen.cli.console import Console
    from edgegen.core.package import PackageManifest
    from edgegen.core.profile import DeviceProfile

verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Hash all files of the package first; else only those that changed since the last time.",
)
chip_option = click.option(
    "--chip",
    metavar="NAME",
    help="Of a package for several chips' NPUs, use the contexts of this one; default: the "
    "device's own, and the first where it is emulated.",
)


def check_package(
    console: Console, package: Path, manifest: PackageManifest, device: str, *, verify: bool
) -> None:
    """Refuse a package that is not as it was built.

    A device hashes what it has of it: the files here are only hashed for it with `verify`. Raises
    IntegrityError.
    """
    from edgegen.packaging.remembered import require_unchanged

    if device == LOCAL or verify:
        require_unchanged(package, manifest, console.progress, everything=verify)


def chip_of(
    manifest: PackageManifest, given: str | None, profile: DeviceProfile | None = None
) -> str | None:
    """Return the name of the chip that is asked for, or that a profile has which is.

    Raises ConfigError for one that the package wasn't compiled for.
    """
    if given is None and profile is not None and manifest.compiled:
        given = profile.hardware.chip
    if given is None:
        return None
    from edgegen.core.chips import load_chip

    chip, known = load_chip(given).name, [it.chip for it in manifest.compiled]
    if chip not in known:
        raise ConfigError(
            f"The package was compiled for {' and '.join(known) or 'no chip'}, not for {chip}.",
            hint="Leave --chip out, or compile for it: edgegen package MODEL --chip "
            + " --chip ".join([*known, chip]),
        )
    return chip
