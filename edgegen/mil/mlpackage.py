"""The folder that Xcode calls a model package: `NAME.mlpackage`.

Source: coremltools, `modelpackage/src/ModelPackage.cpp`. Its manifest names its items by random
identifiers; ours are made of what they name, so that the same model gives the same bytes.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from edgegen.core.codec import load_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import inside, translate_disk_errors
from edgegen.core.regular_files import open_regular
from edgegen.mil.schema import Model
from edgegen.mil.wire import decode, encode

MANIFEST = "Manifest.json"
DATA = "Data"
AUTHOR = "com.apple.CoreML"
MODEL_FILE = "model.mlmodel"
WEIGHTS_FOLDER = "weights"
WEIGHTS_FILE = "weight.bin"
LARGEST_MODEL_BYTES = 32 << 20
"""The UNet of `builtin:scenes` takes 0.4 MB: its weights lie beside it."""

_VERSION = "1.0.0"
_ITEMS = {
    f"{AUTHOR}/{MODEL_FILE}": "CoreML Model Specification",
    f"{AUTHOR}/{WEIGHTS_FOLDER}": "CoreML Model Weights",
}


def weights_path(package: Path) -> Path:
    """Return where a package's file of weights lies; makes the folders."""
    folder = package / DATA / AUTHOR / WEIGHTS_FOLDER
    with translate_disk_errors(package.parent):
        folder.mkdir(parents=True, exist_ok=True)
    return folder / WEIGHTS_FILE


def save_model(package: Path, model: Model) -> int:
    """Write a package's model file and manifest; return the model file's size in bytes."""
    data = encode(model)
    entries = {
        _identifier(path): {
            "author": AUTHOR,
            "description": description,
            "name": Path(path).name,
            "path": path,
        }
        for path, description in _ITEMS.items()
    }
    manifest = {
        "fileFormatVersion": _VERSION,
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier(f"{AUTHOR}/{MODEL_FILE}"),
    }
    with translate_disk_errors(package.parent):
        (package / DATA / AUTHOR).mkdir(parents=True, exist_ok=True)
        (package / DATA / AUTHOR / MODEL_FILE).write_bytes(data)
        (package / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")
    return len(data)


def load_model(package: Path) -> tuple[Model, Path]:
    """Return a package's model, and the folder that `@model_path` stands for.

    Raises IntegrityError where the folder is no model package, or its manifest names a file outside
    of it.
    """
    try:
        manifest = load_json_object(package / MANIFEST)
    except ConfigError as error:
        raise IntegrityError(error.message, hint="Copy the package again.") from error
    root = manifest.get("rootModelIdentifier")
    entries = manifest.get("itemInfoEntries")
    entry = entries.get(root) if isinstance(entries, dict) and isinstance(root, str) else None
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str):
        raise IntegrityError(
            f"{package / MANIFEST} names no model.", hint="Copy the package again."
        )
    file = inside(package / DATA, path)
    try:
        with open_regular(file, roots=[package]) as opened:
            data = opened.read(LARGEST_MODEL_BYTES + 1)
    except OSError as error:
        raise IntegrityError(
            f"{file} cannot be read: {error}.", hint="Copy the package again."
        ) from error
    if len(data) > LARGEST_MODEL_BYTES:
        raise IntegrityError(
            f"{file} is larger than {LARGEST_MODEL_BYTES >> 20} MiB.",
            hint="Large weights belong in its weight.bin: build the package again.",
        )
    return decode(Model, data), file.parent


def _identifier(path: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, path)).upper()
