"""Puts trained models where they ship from: `python -m training.ship FOLDER`.

Cards and notices, which are written by hand, stay as they are. What a model shares with another
(`BuiltinModel.shares`), as the few-step model the text encoder with the first one, ships once.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from edgegen.builtin.folder import PREFIX, SHIPPED
from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.errors import ConfigError, EdgegenError
from edgegen.core.staging import staged_folder


def main() -> int:
    """Ship the models of a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="has a folder for each model")
    try:
        ship(parser.parse_args().folder, SHIPPED)
    except EdgegenError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


def ship(trained: Path, shipped: Path) -> None:
    """Copy the models that are in `trained` to `shipped`, without what another one has for them.

    All are built beside their places before the first one is replaced. Raises ConfigError where
    there is no model, or where one that ships would be left with parts of other weights.
    """
    names = _names_to_ship(trained, shipped)
    with ExitStack() as stack:
        for name in names:
            target = shipped / name
            staging = stack.enter_context(
                staged_folder(target, replace=True, setting="another copy of edgegen")
            )
            _build(trained, name, target, staging)


def _names_to_ship(trained: Path, shipped: Path) -> list[str]:
    known = [name.removeprefix(PREFIX) for name in BUILTIN_MODELS]
    names = [name for name in known if (trained / name).is_dir()]
    if not names:
        raise ConfigError(
            f"{trained} has none of the models {', '.join(known)}.",
            hint="Name the folder `models` in the work folder of a training that came to its end.",
        )
    for name in known:
        replaced = [other for other in _shared_with(name) if other in names]
        if name not in names and (shipped / name).is_dir() and replaced:
            raise ConfigError(
                f"{trained} has {replaced[0]}, but not {name}, which ships without what they share"
                " and would get it from other weights than its own.",
                hint="Let the training come to its end, and ship all that it made.",
            )
    return names


def _shared_with(name: str) -> Iterator[str]:
    """Yield the model that a model shares with, then the one that that one shares with, …"""
    while shares := BUILTIN_MODELS[PREFIX + name].shares:
        name = shares.removeprefix(PREFIX)
        yield name


def _build(trained: Path, name: str, target: Path, staging: Path) -> None:
    """Fill a model's new folder: what was trained, and the other files of the old one."""
    source = trained / name
    made = {path.name for path in source.iterdir()}
    if target.is_dir():
        for path in target.iterdir():
            if path.is_file() and path.name not in made:
                shutil.copy2(path, staging, follow_symlinks=False)
    shares = next(_shared_with(name), None)
    for path in sorted(source.iterdir()):
        if shares and _is_same(path, trained / shares / path.name):
            continue
        if path.is_dir():
            shutil.copytree(path, staging / path.name)
        else:
            shutil.copyfile(path, staging / path.name)


def _is_same(path: Path, other: Path) -> bool:
    """Say whether two files, or two flat folders, have the same bytes."""
    if not path.is_dir():
        return other.is_file() and filecmp.cmp(path, other, shallow=False)
    names = sorted(it.name for it in path.iterdir())
    if not other.is_dir() or names != sorted(it.name for it in other.iterdir()):
        return False
    return filecmp.cmpfiles(path, other, names, shallow=False)[0] == names


if __name__ == "__main__":
    sys.exit(main())
