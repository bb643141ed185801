"""LiteRT, the present name of TensorFlow Lite."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ai_edge_litert.interpreter import Interpreter

from . import BackendOptions
from .tflite import Graph, TfliteBackend

if TYPE_CHECKING:
    from pathlib import Path


def open_litert(options: BackendOptions) -> TfliteBackend:
    """Return the backend of LiteRT's interpreter."""
    version = metadata.version("ai-edge-litert")
    flags = find_spec("ai_edge_litert.cpu_options") is not None
    return TfliteBackend(
        "ai_edge_litert", version, Interpreter, options, in_float16=_compiled if flags else None
    )


def _compiled(path: Path, signature: str, threads: int) -> Graph:
    from .litert_compiled import CompiledPart

    return CompiledPart(path, signature, threads)
