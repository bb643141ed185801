"""LiteRT's CompiledModel, which takes XNNPACK's options: its interpreter doesn't."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import ai_edge_litert
import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.environment import Environment, EnvironmentOptions
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.options import CpuOptions, Options

from . import Array

FORCE_FP16 = 0x04
"""TFLITE_XNNPACK_DELEGATE_FLAG_FORCE_FP16 (tensorflow/lite/delegates/xnnpack/xnnpack_delegate.h).
It takes the place of LiteRT's own flags, which are the delegate's for int8."""
_INT8 = 0x01 | 0x02  # TFLITE_XNNPACK_DELEGATE_FLAG_QS8, _QU8


class CompiledPart:
    """One graph: its inputs' and outputs' names, and how to run it.

    It computes as it is given, or ``in_float16``. ``packed`` is the file in which XNNPACK finds the
    weights as its kernels take them, and which it maps; it writes one that is missing. None packs
    them in memory.
    """

    def __init__(
        self,
        path: Path,
        signature: str,
        threads: int,
        *,
        in_float16: bool = False,
        packed: Optional[Path] = None,
    ) -> None:
        self._signature = signature
        options = CpuOptions(num_threads=threads)
        if in_float16:
            options.xnnpack_flags = FORCE_FP16 | _INT8
        if packed is not None:
            options.xnnpack_weight_cache_path = str(packed)
        self._model = CompiledModel.from_file(
            str(path),
            environment=_environment(),
            options=Options(hardware_accelerators=HardwareAccelerator.CPU, cpu_options=options),
        )
        inputs = self._model.get_input_tensor_details(signature)
        outputs = self._model.get_output_tensor_details(signature)
        self.inputs, self.outputs = frozenset(inputs), frozenset(outputs)
        # It tells no part of a graph that XNNPACK took; what it packed is another sign.
        self.is_delegated = bool(self._model.is_fully_accelerated()) or (
            packed is not None and packed.is_file()
        )
        self._shapes = {name: tuple(tensor["shape"]) for name, tensor in outputs.items()}
        self._types = {name: np.dtype(tensor["dtype"]) for name, tensor in outputs.items()}
        self._given: dict[str, Any] = {
            name: self._model.create_input_buffer_by_name(signature, name) for name in inputs
        }
        self._made: dict[str, Any] = {
            name: self._model.create_output_buffer_by_name(signature, name) for name in outputs
        }

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, which are copies, from values among which the inputs are."""
        for name, buffer in self._given.items():
            flat = np.ascontiguousarray(values[name]).ravel()
            # A buffer takes bytes, but knows no int64.
            buffer.write(flat.view(np.int32) if flat.dtype == np.int64 else flat)
        self._model.run_by_name(self._signature, self._given, self._made)
        return {name: self._read(name) for name in self._made}

    def _read(self, name: str) -> Array:
        shape, dtype = self._shapes[name], self._types[name]
        count = int(np.prod(shape))
        return np.array(self._made[name].read(count, dtype.type)).reshape(shape)


def _environment() -> Any:
    """Return LiteRT's environment, which finds its libraries beside the package."""
    folder = Path(str(ai_edge_litert.__file__)).absolute().parent
    return Environment.create(options=EnvironmentOptions(runtime_path=str(folder)))
