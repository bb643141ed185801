"""A model's folder as peers read it: transformers before 5.23 knows text encoders by older names.

They call CLIP's parameters `text_model.…`. Where a file has the newer names, they load none of
them, warn, and draw with random weights: another picture, and no error.
"""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

_PREFIX = "text_model."
_WITHOUT = ("__metadata__", _PREFIX, "text_projection.")


def for_peers(model: Path, folder: Path) -> Path:
    """Lay a diffusers folder out with the older names of its text encoders, once; return it.

    All other files are links to the model's.
    """
    if (folder / "model_index.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    for path in sorted(it for it in model.rglob("*") if it.is_file()):
        place = folder / path.relative_to(model)
        if place.name == "model_index.json":
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.name.startswith("text_encoder") and path.suffix == ".safetensors":
            with_older_names(path, place)
        else:
            place.symlink_to(path.resolve())
    (folder / "model_index.json").symlink_to((model / "model_index.json").resolve())  # the last
    return folder


def with_older_names(source: Path, target: Path) -> None:
    """Copy a safetensors file of a CLIP text encoder, with the older names of its tensors."""
    with source.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        named = {
            name if name.startswith(_WITHOUT) else _PREFIX + name: fields
            for name, fields in header.items()
        }
        text = json.dumps(named).encode()
        text += b" " * (-len(text) % 8)
        with target.open("wb") as copy:
            copy.write(struct.pack("<Q", len(text)) + text)
            shutil.copyfileobj(file, copy)
