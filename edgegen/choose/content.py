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

BUILDS = (
    *("compress", "exporters", "families", "mil", "models", "networks", "packaging", "parity"),
    *("reference", "tokenizers"),
)
EVALUATES = ("evaluate", "families", "networks", "reference", "runner", "scenes")
MEASURES = ("devices", "measure", "runner")
"""Rooms whose code makes packages, judges their pictures, and measures them."""

TOOLKITS = (
    *("torch", "diffusers", "transformers", "numpy", "onnx", "onnx-ir", "onnxruntime", "openvino"),
    *("ai-edge-litert", "coremltools"),
)


def key_of(kind: str, value: Mapping[str, Any]) -> str:
    """Return the key of a value: 32 hexadecimal digits."""
    text = json.dumps([kind, encode(value)], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:32]


@cache
def code_of(rooms: tuple[str, ...], *, with_runner: bool = False) -> str:
    """Return the version of edgegen and a hash of the source that does a kind of work."""
    import edgegen

    root = Path(edgegen.__file__).parent
    folders = [root / room for room in rooms]
    if with_runner:
        import edgegen_runner

        folders.append(Path(edgegen_runner.__file__).parent)
    digest = hashlib.sha256()
    for path in sorted(file for folder in folders for file in folder.rglob("*.py")):
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    return f"{__version__} {digest.hexdigest()[:16]}"


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


def small_files_sha256(folder: Path, relevant: Iterable[str] = ("*.json", "*.txt", "*.md")) -> str:
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
