"""tflite_runtime, which LiteRT has taken over from: some boards have nothing newer."""

from __future__ import annotations

from importlib import metadata

from tflite_runtime.interpreter import Interpreter

from . import BackendOptions
from .tflite import TfliteBackend

STORAGES = frozenset({"float32", "float16"})
"""Its last version, 2.14, is older than the int8 operators that recipes use."""


def open_tflite_runtime(options: BackendOptions) -> TfliteBackend:
    """Return the backend of tflite_runtime's interpreter."""
    version = metadata.version("tflite-runtime")
    return TfliteBackend("tflite_runtime", version, Interpreter, options, STORAGES)
