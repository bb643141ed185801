"""Puts trained models where they ship from: `python -m training.ship FOLDER`.

Cards and notices, which are written by hand, stay as they are. What a model shares with another
(`BuiltinModel.shares`), as the few-step model the text encoder with the first one, ships once.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
from pathlib import Path

from edgegen.pipelines.builtin_folder import PREFIX, SHIPPED
from edgegen.pipelines.builtin_models import BUILTIN_MODELS


def ship(trained: Path, shipped: Path) -> None:
    """Copy the models that are in `trained` to `shipped`, without what another one has for them."""
    for name, model in BUILTIN_MODELS.items():
        source, target = (folder / name.removeprefix(PREFIX) for folder in (trained, shipped))
        if not source.is_dir():
            continue
        target.mkdir(parents=True, exist_ok=True)
        for old in (path for path in target.iterdir() if path.is_dir()):
            shutil.rmtree(old)
        for path in sorted(source.iterdir()):
            shared = model.shares and trained / model.shares.removeprefix(PREFIX) / path.name
            if shared and _is_same(path, shared):
                (target / path.name).unlink(missing_ok=True)
            elif path.is_dir():
                shutil.copytree(path, target / path.name)
            else:
                shutil.copyfile(path, target / path.name)


def _is_same(path: Path, other: Path) -> bool:
    """Say whether two files, or two flat folders, have the same bytes."""
    if not path.is_dir():
        return other.is_file() and filecmp.cmp(path, other, shallow=False)
    names = sorted(it.name for it in path.iterdir())
    if not other.is_dir() or names != sorted(it.name for it in other.iterdir()):
        return False
    return filecmp.cmpfiles(path, other, names, shallow=False)[0] == names


if __name__ == "__main__":
    ship(Path(sys.argv[1]), SHIPPED)
