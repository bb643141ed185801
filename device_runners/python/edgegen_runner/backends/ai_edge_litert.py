"""LiteRT, the present name of TensorFlow Lite."""

from __future__ import annotations

from importlib import metadata

from ai_edge_litert.interpreter import Interpreter

from . import BackendOptions
from .tflite import TfliteBackend


def open_litert(options: BackendOptions) -> TfliteBackend:
    """Return the backend of LiteRT's interpreter."""
    version = metadata.version("ai-edge-litert")
    return TfliteBackend("ai_edge_litert", version, Interpreter, options)
