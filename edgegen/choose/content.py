"""Keys of what a choice keeps: hashes of all that went into it, never the existence of a file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from edgegen import __version__
from edgegen.core.codec import encode
from edgegen.core.files import sha256_of
from edgegen.core.shipped import shipped

MEASURES = ("builtin", "core", "devices", "drawer", "measure", "mil", "runner")
BUILDS = (
    *(
        "builtin",
        "checkpoints",
        "compress",
        "core",
        "devices",
        "drawer",
        "exporters",
        "families",
        "mil",
    ),
    *("models", "networks", "packaging", "parity", "reference", "runner", "sensitivity"),
    "tokenizers",
)
EVALUATES = (*BUILDS, "evaluate", "scenes", "statistics")
"""Rooms that make packages, judge their pictures and measure them, with all that these import."""

TOOLKITS = (
    *("torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy", "pillow"),
    *("onnx", "onnx-ir", "onnxruntime", "openvino", "openvino-tokenizers", "ai-edge-litert"),
    *("flatbuffers", "coremltools", "scikit-image", "flip-evaluator"),
)
_SMALL_FILES = ("*.json", "*.txt", "*.md", "*.model")
_NOT_SOURCE = (".pyc", ".safetensors")
"""Files of a room that don't count: what Python makes, and weights, whose models are hashed."""


def key_of(kind: str, value: Mapping[str, Any]) -> str:
    """Return the key of a value: 32 hexadecimal digits."""
    text = json.dumps([kind, encode(value)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]


@cache
def code_of(rooms: tuple[str, ...], *, with_runner: bool = False) -> str:
    """Return the version of edgegen and a hash of the files that do a kind of work.

    A room is a folder or a module of edgegen; its data count as its source does.
    """
    import edgegen

    root = Path(edgegen.__file__).parent
    digest = hashlib.sha256()
    for room in rooms:
        module = root / f"{room}.py"
        for path in [module] if module.is_file() else _files_of(root / room):
            digest.update(f"{path.relative_to(root).as_posix()} {sha256_of(path)}\n".encode())
    if with_runner:
        import edgegen_runner

        runner = Path(edgegen_runner.__file__).parent
        for path in _files_of(runner):
            name = path.relative_to(runner.parent).as_posix()
            digest.update(f"{name} {sha256_of(path)}\n".encode())
    return f"{__version__} {digest.hexdigest()[:16]}"


def _files_of(folder: Path) -> list[Path]:
    """Return the files of a room, in order."""
    found = (path for path in folder.rglob("*") if path.suffix not in _NOT_SOURCE)
    return sorted(path for path in found if path.is_file())


@cache
def toolkits() -> Mapping[str, str]:
    """Return the versions of the toolkits that are installed here; they are not imported."""
    found = {}
    for name in TOOLKITS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def small_files_sha256(folder: Path, relevant: Iterable[str] = _SMALL_FILES) -> str:
    """Return a hash over a model's small files: configurations, tokenizers, licences, its card."""
    digest = hashlib.sha256()
    for path in sorted({file for pattern in relevant for file in folder.rglob(pattern)}):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {sha256_of(path)}\n".encode())
    for path in sorted(folder.glob("LICEN[SC]E*")):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def target_sha256(target: str) -> str:
    """Return a hash of a target's facts."""
    return sha256_of(shipped("targets") / target / "target.toml")
