"""The runtimes that packages run on: one row a runtime, which the host and the runner both read.

The standard library only: a command's help reads it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Optional

from .contexts import CONTEXTS


@dataclass(frozen=True)
class Runtime:
    """A library that runs one target's packages, and how a Python comes by it.

    ``packages`` are the distributions that bring it, as pip or a device's profile calls them; pip
    is asked for ``install``. ``module`` is what the backend imports of it, and ``trial`` what tries
    that, where importing it isn't enough. ``providers`` are its names for where it computes, which
    a profile may ask for; a build has some of them. It works with the packages ``beside`` it,
    which pip doesn't bring where wheels are pinned. On the machines of ``emulated_on``
    (``platform.machine()``) it only emulates the chip: right, slow, and its times mean nothing.
    """

    name: str
    target: str
    backend: str  # module:function or module:Class
    module: str
    packages: tuple[str, ...]
    install: str
    providers: tuple[str, ...]
    pinned: bool = False  # `edgegen devices setup` has wheels of it
    platform: Optional[str] = None  # the only sys.platform that has it
    remedy: str = ""  # what to do on a device without it, where there are no wheels
    trial: str = ""
    beside: tuple[str, ...] = ()
    emulated_on: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """Return the distribution that brings it everywhere."""
        return self.packages[0]

    @property
    def can_be_here(self) -> bool:
        """Return whether this system can have it."""
        return self.platform in (None, sys.platform)

    @property
    def is_here(self) -> bool:
        """Return whether this Python has it; it isn't imported."""
        package = self.module.partition(".")[0]
        return self.can_be_here and importlib.util.find_spec(package) is not None

    def is_called(self, word: str) -> bool:
        """Return whether a user, pip or a profile means it by a word."""
        return word == self.name or word.replace("_", "-") in self.packages


_NEGATE = (
    b'\x08\x03:2\n\x0b\n\x01x\x12\x01y"\x03Neg\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x02'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x02B\x04\n\x00\x10\x07"
)
"""An ONNX model, y = -x for two numbers (opset 7)."""

RUNTIMES: tuple[Runtime, ...] = (
    Runtime(
        name="onnxruntime",
        target="onnx",
        backend="edgegen_runner.backends.onnxruntime:OnnxRuntimeBackend",
        module="onnxruntime",
        packages=("onnxruntime", "onnxruntime-gpu", "onnxruntime-c"),
        install="onnxruntime",
        providers=(
            *("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"),
            *("CoreMLExecutionProvider", "OpenVINOExecutionProvider", "QNNExecutionProvider"),
            *("XnnpackExecutionProvider", "NnapiExecutionProvider", "DmlExecutionProvider"),
        ),
        pinned=True,
        trial=(
            "import numpy, onnxruntime as o\n"
            f"session = o.InferenceSession({_NEGATE!r}, providers=['CPUExecutionProvider'])\n"
            "session.run(None, {'x': numpy.ones(2, numpy.float32)})\n"
        ),
    ),
    Runtime(
        name="onnxruntime_qnn",
        target=CONTEXTS,
        backend="edgegen_runner.backends.onnxruntime_qnn:OnnxRuntimeQnnBackend",
        module="onnxruntime_qnn",
        packages=("onnxruntime-qnn",),
        install="onnxruntime onnxruntime-qnn",
        providers=("HTP",),
        pinned=True,
        beside=("onnxruntime",),
        emulated_on=("x86_64", "AMD64"),
    ),
    Runtime(
        name="openvino",
        target="openvino",
        backend="edgegen_runner.backends.openvino:OpenVinoBackend",
        module="openvino",
        packages=("openvino",),
        install="openvino",
        providers=("CPU", "GPU", "NPU"),
        pinned=True,
        trial="import numpy, openvino; openvino.Tensor(numpy.ones(2))",
    ),
    Runtime(
        name="ai_edge_litert",
        target="tflite",
        backend="edgegen_runner.backends.ai_edge_litert:open_litert",
        module="ai_edge_litert.interpreter",
        packages=("ai-edge-litert",),
        install="ai-edge-litert",
        providers=("XNNPACK",),
        pinned=True,
    ),
    Runtime(
        name="tflite_runtime",
        target="tflite",
        backend="edgegen_runner.backends.tflite_runtime:open_tflite_runtime",
        module="tflite_runtime.interpreter",
        packages=("tflite-runtime",),
        install="tflite-runtime 'numpy<2'",
        providers=("XNNPACK",),
    ),
    Runtime(
        name="coreml",
        target="coreml",
        backend="edgegen_runner.backends.coreml:CoreMlBackend",
        module="coremltools",
        packages=("coremltools",),
        install="coremltools",
        providers=("ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"),
        platform="darwin",
        remedy="Core ML is a part of macOS: on a Mac, install coremltools there.",
    ),
)
"""Of a target that has several, the first choice comes first."""

DEFAULT = RUNTIMES[0]
"""What a job or a device gets where nothing says."""


def of_target(target: str, runtimes: Iterable[Runtime] = RUNTIMES) -> tuple[Runtime, ...]:
    """Return the runtimes that run a target's packages, the first choice first."""
    return tuple(runtime for runtime in runtimes if runtime.target == target)


def called(word: str, runtimes: Iterable[Runtime] = RUNTIMES) -> Optional[Runtime]:
    """Return the runtime that a word means, None for an unknown one."""
    return next((runtime for runtime in runtimes if runtime.is_called(word)), None)
