"""ONNX Runtime with Qualcomm's provider: graphs that were compiled for a Hexagon NPU.

On an x86-64 machine Qualcomm's libraries emulate the chip. A node that would run on the processor
is an error, unless the package names it.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ..arithmetic import ARITHMETICS, arithmetic_of
from ..chips import Compiled
from ..contexts import context_of, read_context
from ..errors import RunnerFailure
from ..package import Component
from ..runtimes import called
from . import Array, BackendOptions, require_ports, runtime_failure
from .onnxruntime import FAILURES  # it turns telemetry off before the import
from .parts import Part, PartInTurn, check_parts, run_in_turn

import onnxruntime as ort  # isort: skip
import onnxruntime_qnn as qnn  # isort: skip

NPU, EMULATED = "HTP", "HTP, emulated"
_NAME = "qnn"
_LESS_MEMORY = "Use residency 'sequential', or a smaller image."


class OnnxRuntimeQnnBackend:
    """Run contexts: an ``.onnx`` of one node, and the binary that it names beside it.

    Those of a graph that was cut are loaded one after the other, and run in turn.
    """

    name = "onnxruntime_qnn"

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.version = str(qnn.__version__)
        self.emulates = emulates()
        self.available_providers = (EMULATED if self.emulates else NPU,)
        ort.set_default_logger_severity(3)  # errors only
        try:
            ort.register_execution_provider_library(_NAME, qnn.get_library_path())
        except FAILURES as error:
            if "already" not in str(error):
                raise runtime_failure("Qualcomm's provider", error, _LESS_MEMORY) from error
        self._devices = [it for it in ort.get_ep_devices() if it.ep_name == _NAME][:1]

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types it doesn't compute: a context keeps what it was compiled in."""
        return dict.fromkeys(ARITHMETICS[1:], "the graph was compiled in the NPU's own types")

    def load(self, path: Path, component: Component) -> ContextSession:
        """Load a context, or all of a component's; see `Backend.load`."""
        arithmetic_of(self.options.arithmetic, component, self.arithmetic_gaps, self.name)
        compiled = component.compiled
        if compiled is None:
            raise RunnerFailure(
                "bad-package",
                f"{component.name} was compiled for no chip.",
                "Build the package with --npu, or run it with another runtime.",
            )
        if self.options.providers and self.options.providers != (NPU,):
            raise RunnerFailure(
                "missing-provider",
                f"onnxruntime_qnn has no provider {' + '.join(self.options.providers)}.",
                f"It has {NPU}: leave --provider out.",
            )
        paths = (path, *component.parts)
        for file in paths:
            _require_same_chip(file, compiled)
        if not self._devices:
            raise RunnerFailure(
                "missing-provider",
                "Qualcomm's provider finds no NPU here.",
                "See what is missing: edgegen devices show",
            )
        loads = [partial(self._load_context, file, component.name, compiled) for file in paths]
        contexts = [PartInTurn(load) if component.in_turn else load() for load in loads]
        check_parts(component, contexts)
        taken = frozenset().union(*(it.inputs for it in contexts))
        made = frozenset().union(*(it.outputs for it in contexts))
        require_ports(component, taken - (made - frozenset(component.inputs)), made)
        left = ("CPUExecutionProvider",) if compiled.on_processor else ()
        return ContextSession(component, contexts, (*self.available_providers, *left))

    def _load_context(self, path: Path, name: str, compiled: Compiled) -> _Context:
        options = ort.SessionOptions()
        options.inter_op_num_threads = 1
        if self.options.threads is not None:
            options.intra_op_num_threads = self.options.threads
        if not compiled.on_processor:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        options.add_provider_for_devices(self._devices, self._provider_options(compiled))
        try:
            session = ort.InferenceSession(str(path), sess_options=options)
        except FAILURES as error:
            what = f"onnxruntime_qnn cannot load {path}, compiled for {compiled.chip}"
            raise runtime_failure(what, error, _LESS_MEMORY) from error
        if _NAME not in session.get_providers():
            raise RunnerFailure(
                "missing-provider",
                f"{name} would run on the processor: the NPU's provider did not start.",
                "Its log is on standard error.",
            )
        return _Context(session)

    def _provider_options(self, compiled: Compiled) -> dict[str, Any]:
        options = {"backend_path": qnn.get_qnn_htp_path()}
        if not self.emulates:
            return {**options, "htp_performance_mode": "burst"}
        return {
            **options,
            "htp_arch": str(compiled.architecture),
            "soc_model": str(compiled.soc_model),
        }


class _Context:
    """A context that is loaded: its inputs' and outputs' names, and how to run it."""

    def __init__(self, session: Any) -> None:
        self.inputs = frozenset(port.name for port in session.get_inputs())
        self.outputs = frozenset(port.name for port in session.get_outputs())
        self._session = session

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs from values among which the inputs are."""
        names = sorted(self.outputs)
        return dict(zip(names, self._session.run(names, {it: values[it] for it in self.inputs})))


class ContextSession:
    """A component whose contexts are loaded."""

    def __init__(
        self, component: Component, contexts: Sequence[Part], providers: tuple[str, ...]
    ) -> None:
        self.providers = providers
        self.arithmetic = component.compute
        self._component = component
        self._contexts = list(contexts)

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs; see `Session.run`."""
        return self.run_each([inputs], outputs)[0]

    def run_each(
        self, calls: Sequence[Mapping[str, Array]], outputs: Optional[Sequence[str]] = None
    ) -> list[dict[str, Array]]:
        """Compute outputs of several calls; see `RunsEach`."""
        try:
            return run_in_turn(self._component, self._contexts, calls, outputs)
        except FAILURES as error:
            raise runtime_failure(
                f"onnxruntime_qnn failed in {self._component.name}", error, _LESS_MEMORY
            ) from error

    def close(self) -> None:
        """Give the memory back."""
        self._contexts = []


def emulates() -> bool:
    """Return whether Qualcomm's libraries only emulate the chip on this machine."""
    runtime = called(OnnxRuntimeQnnBackend.name)
    return runtime is not None and platform.machine() in runtime.emulated_on


def _require_same_chip(path: Path, compiled: Compiled) -> None:
    """Raise RunnerFailure (bad-package) for a context that the manifest does not describe."""
    context = read_context(context_of(path))
    if (context.part, context.architecture) != (compiled.part, compiled.architecture):
        raise RunnerFailure(
            "bad-package",
            f"{context_of(path)} was compiled for {context.part} (V{context.architecture}), and "
            f"the package is for {compiled.part} (V{compiled.architecture}).",
            "Build the package again.",
        )
