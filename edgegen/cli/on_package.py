"""What commands share that run a package: it is checked before anything is computed with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgegen.cli.on_device import LOCAL

if TYPE_CHECKING:
    from edgegen.cli.console import Console
    from edgegen.core.package import PackageManifest

verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Hash all files of the package first; else only those that changed since the last time.",
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
