"""LiteRT, the present name of TensorFlow Lite."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from . import BackendOptions
from .tflite import Graph, TfliteBackend


def open_litert(options: BackendOptions) -> TfliteBackend:
    """Return the backend of LiteRT's interpreter."""
    version = metadata.version("ai-edge-litert")
    takes_options = find_spec("ai_edge_litert.cpu_options") is not None
    return TfliteBackend(
        "ai_edge_litert",
        version,
        Interpreter,
        options,
        compiled=_compiled if takes_options else None,
    )


def _compiled(path: Path, signature: str, threads: int, **options: Any) -> Graph:
    from .litert_compiled import CompiledPart

    return CompiledPart(path, signature, threads, **options)
