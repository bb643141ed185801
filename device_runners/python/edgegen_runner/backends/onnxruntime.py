"""ONNX Runtime."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..arithmetic import BFLOAT16, FLOAT16, arithmetic_of, processor_gap
from ..errors import RunnerFailure, nearest
from ..heap import map_large_blocks
from ..optimized import OptimizedGraphs, filling
from ..package import Component
from ..runtime_versions import version_numbers
from . import Array, BackendOptions, require_outputs, require_ports, runtime_failure

# Before the import: Linux wheels from 1.29 on write a device id and start a thread otherwise.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

CPU = "CPUExecutionProvider"
_LESS_MEMORY = "Use residency 'sequential', memory 'lean', a smaller image, or guidance_batch 1."

FAILURES: tuple[type[Exception], ...] = (
    UnicodeDecodeError,
    *(
        getattr(_state, name)
        for name in (
            "EPFail",
            "EngineError",
            "Fail",
            "InvalidArgument",
            "InvalidGraph",
            "InvalidProtobuf",
            "ModelLoaded",
            "NoModel",
            "NoSuchFile",
            "NotImplemented",
            "RuntimeException",
        )
        if hasattr(_state, name)
    ),
)


_BFLOAT16_PRODUCTS = "mlas.enable_gemm_fastmath_arm64_bfloat16"
_BFLOAT16_SINCE = "1.18.0"
"""onnxruntime_session_options_config_keys.h; earlier releases ignore it."""


_APART: Mapping[str, str] = {
    "session.optimized_model_external_initializers_file_name": "weights",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}
"""An optimized graph has its weights in a file beside it, of which the pages are mapped."""


class OnnxRuntimeBackend:
    """Run ``.onnx`` files, their weights in external data beside them."""

    name = "onnxruntime"

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.version = str(ort.__version__)
        self.available_providers = tuple(ort.get_available_providers())
        self._optimized = OptimizedGraphs(options.optimized, self.version)
        ort.set_default_logger_severity(3)  # errors only

    def load(self, path: Path, component: Component) -> OnnxRuntimeSession:
        """Load a model; see `Backend.load`."""
        providers = self.options.providers or (CPU,)
        for provider in providers:
            if provider not in self.available_providers:
                raise RunnerFailure(
                    "missing-provider",
                    f"This onnxruntime has no {provider}.",
                    nearest(provider, self.available_providers)
                    + " Install the build of onnxruntime that has it.",
                )
        arithmetic = arithmetic_of(
            self.options.arithmetic, component, self.arithmetic_gaps, self.name
        )
        lean = self.options.is_lean(path)
        if lean:
            map_large_blocks()
        try:
            session = self._session(path, component.name, providers, arithmetic, lean=lean)
        except FAILURES as error:
            raise runtime_failure(f"onnxruntime cannot load {path}", error, _LESS_MEMORY) from error
        require_ports(
            component,
            (port.name for port in session.get_inputs()),
            (port.name for port in session.get_outputs()),
        )
        used = tuple(session.get_providers())
        missing = [provider for provider in providers if provider not in used]
        if missing:
            raise RunnerFailure(
                "missing-provider",
                f"{component.name} would not run on {', '.join(missing)} but on "
                f"{', '.join(used)}: the provider could not be started.",
                "Its log is on standard error. Install what it needs, or ask for another provider.",
            )
        return OnnxRuntimeSession(component, session, used, arithmetic)

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types it doesn't compute: on Arm its products may be in bfloat16."""
        gaps = {FLOAT16: "its kernels for float16 take graphs in float16, as the recipe fp16 has"}
        if platform.machine() not in ("aarch64", "arm64") or not sys.platform.startswith("linux"):
            gaps[BFLOAT16] = "it has products in bfloat16 for Linux on Arm only"
        elif self.options.providers not in ((), (CPU,)):
            gaps[BFLOAT16] = f"its products in bfloat16 are {CPU}'s"
        elif version_numbers(self.version) < version_numbers(_BFLOAT16_SINCE):
            gaps[BFLOAT16] = f"onnxruntime {self.version} is older than {_BFLOAT16_SINCE}"
        elif processor_gap(BFLOAT16):
            gaps[BFLOAT16] = processor_gap(BFLOAT16)
        return gaps

    def _session(
        self, path: Path, name: str, providers: Sequence[str], arithmetic: str, *, lean: bool
    ) -> Any:
        """Load a graph, or the one that was made of it when it was loaded first."""
        place = None
        if not lean and tuple(providers) == (CPU,):
            place = self._optimized.place(path, name)
        if place is not None:
            # Whatever ails what is kept, or keeping it: the package's own graph is still there.
            with contextlib.suppress(*FAILURES, OSError):
                return self._kept_session(path, place, arithmetic)
        return ort.InferenceSession(
            str(path),
            sess_options=self._session_options(lean=lean, arithmetic=arithmetic),
            providers=list(providers),
            # Folding would make a second, wider copy of weights that are stored in float16.
            disabled_optimizers=["ConstantFolding"] if lean else None,
        )

    def _kept_session(self, path: Path, place: Path, arithmetic: str) -> Any:
        options = self._session_options(lean=False, arithmetic=arithmetic)
        kept = place / "model.onnx"
        if kept.is_file():
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            return ort.InferenceSession(str(kept), sess_options=options, providers=[CPU])
        with filling(place) as folder:
            options.optimized_model_filepath = str(folder / kept.name)
            for key, value in _APART.items():
                options.add_session_config_entry(key, value)
            return ort.InferenceSession(str(path), sess_options=options, providers=[CPU])

    def _session_options(self, *, lean: bool, arithmetic: str) -> Any:
        options = ort.SessionOptions()
        if self.options.threads is not None:
            options.intra_op_num_threads = self.options.threads
        options.inter_op_num_threads = 1
        if arithmetic == BFLOAT16:
            options.add_session_config_entry(_BFLOAT16_PRODUCTS, "1")
        if lean:
            # No optimizer and no kernel may copy the weights out of the mapped file, and freed
            # activations go back to the system.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.add_session_config_entry("session.disable_prepacking", "1")
            options.enable_cpu_mem_arena = False
            options.enable_mem_pattern = False
        return options


class OnnxRuntimeSession:
    """A loaded model."""

    def __init__(
        self,
        component: Component,
        session: Any,
        providers: tuple[str, ...],
        arithmetic: Optional[str] = None,
    ) -> None:
        self.providers = providers
        self.arithmetic = arithmetic or component.compute
        self._component = component
        self._session = session
        self._outputs = list(component.outputs)

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs; see `Session.run`."""
        names = self._outputs if outputs is None else list(outputs)
        require_outputs(self._component, names)
        try:
            values = self._session.run(names, dict(inputs))
        except FAILURES as error:
            raise runtime_failure(
                f"onnxruntime failed in {self._component.name}", error, _LESS_MEMORY
            ) from error
        return dict(zip(names, values))

    def close(self) -> None:
        """Give the memory back."""
        self._session = None
