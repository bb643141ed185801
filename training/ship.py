"""Puts trained models where they ship from: `python -m training.ship FOLDER`.

Cards and notices, which are written by hand, stay as they are. A file that an earlier model has
too, as the few-step model's text encoder is the first one's, becomes a link to it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

MODELS = ("scenes", "scenes-4step", "scenes-4step-tiny")
"""In an order in which links only lead back."""
SHIPPED = Path(__file__).parents[1] / "edgegen" / "pipelines" / "builtin"


def ship(trained: Path, shipped: Path) -> None:
    """Copy the models that are in `trained` to `shipped`; link the files that are the same."""
    first: dict[bytes, Path] = {}
    for model in (name for name in MODELS if (trained / name).is_dir()):
        for folder in (path for path in (trained / model).iterdir() if path.is_dir()):
            shutil.rmtree(shipped / model / folder.name, ignore_errors=True)
        for source in sorted(path for path in (trained / model).rglob("*") if path.is_file()):
            target = shipped / model / source.relative_to(trained / model)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            same = first.setdefault(source.read_bytes(), target)
            if same.is_relative_to(shipped / model):
                shutil.copyfile(source, target)
            else:
                target.symlink_to(os.path.relpath(same, target.parent))


if __name__ == "__main__":
    ship(Path(sys.argv[1]), SHIPPED)
