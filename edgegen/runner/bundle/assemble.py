"""Lays out a bundle's folder from unpacked packages of Debian and wheels."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from edgegen.core.errors import IntegrityError
from edgegen.core.files import inside
from edgegen.runner.bundle.facts import BundleFacts, Platform
from edgegen.runner.bundle.launcher import launcher
from edgegen.runner.bundle.licences import copy_package_licences, copy_wheel_licences
from edgegen.runner.bundle.stdlib import compile_modules, take, zip_compiled

_EMPTY_FOLDERS = ("home", "tmp")
_SHOWN_STDLIB = "<stdlib>"
_SHOWN_PACKAGES = "<site-packages>"


def assemble(
    root: Path,
    *,
    facts: BundleFacts,
    platform: Platform,
    unpacked: Path,
    wheels: dict[str, Path],
    scratch: Path,
    compiler: str,
) -> None:
    """Fill the empty folder `root`: all of a bundle but `bundle.json`.

    `unpacked` has the files of Debian's packages, `wheels` the wheel of each name, `scratch` is an
    empty folder to work in. Raises IntegrityError where a package lacks what the facts name.
    """
    _copy_programs(root, facts, unpacked)
    _copy_stdlib(root, facts, unpacked, scratch / "stdlib", compiler)
    for name, wheel in wheels.items():
        whole = scratch / name
        unpack_wheel(wheel, whole)
        take(whole, root / "site-packages", facts.wheel(name).left_out)
        copy_wheel_licences(name, whole, root / "licences")
    compile_modules(compiler, root / "site-packages", _SHOWN_PACKAGES, beside=False)
    copy_package_licences(facts.packages, unpacked, facts.debian, root / "licences")
    for name in _EMPTY_FOLDERS:
        (root / name).mkdir()
    script = root / "python"
    script.write_text(launcher(facts, platform), encoding="ascii")
    script.chmod(0o755)


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack a wheel; raises IntegrityError for a path that leaves the folder, or a .data folder.

    Files of `.data` belong elsewhere (PEP 427); the wheels that a bundle takes have none.
    """
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if entry.filename.partition("/")[0].endswith(".data"):
                _keep_only_scripts_out(entry.filename, wheel)
                continue
            target = inside(folder, entry.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)


def _keep_only_scripts_out(name: str, wheel: Path) -> None:
    if name.split("/")[1] != "scripts":
        raise IntegrityError(
            f"{wheel.name} has the file {name}, which a bundle has no place for.",
            hint="Adapt edgegen/runner/bundle/assemble.py.",
        )


def _copy_programs(root: Path, facts: BundleFacts, unpacked: Path) -> None:
    _copy(unpacked, facts.program, root / "bin")
    for package in facts.packages:
        for library in package.libraries:
            _copy(unpacked, library, root / "lib")


def _copy(unpacked: Path, name: str, folder: Path) -> None:
    """Copy a program or library; a link is followed, so that the name asked for is a file."""
    source = unpacked / name
    if not source.is_file():
        raise IntegrityError(
            f"Debian's packages have no file {name}.",
            hint="The release has changed: adapt device_runners/bundles/arm64.toml.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _copy_stdlib(
    root: Path, facts: BundleFacts, unpacked: Path, scratch: Path, compiler: str
) -> None:
    library = root / "lib"
    take(unpacked / facts.stdlib, scratch, facts.stdlib_left_out)
    compile_modules(compiler, scratch, _SHOWN_STDLIB, beside=True)
    zip_compiled(scratch, library / f"python{facts.python.replace('.', '')}.zip")
    extensions = library / f"python{facts.python}" / "lib-dynload"
    take(unpacked / facts.extensions, extensions, facts.extensions_left_out)
