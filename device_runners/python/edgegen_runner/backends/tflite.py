"""TFLite graphs, whichever package brings the interpreter: LiteRT or the older tflite_runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Protocol

from ..arithmetic import BFLOAT16, FLOAT16, arithmetic_of, processor_gap
from ..errors import RunnerFailure, nearest
from ..mapped_pages import folder_mark, give_back_pages
from ..optimized import OptimizedGraphs, size_bytes
from ..package import Component
from ..sensors.control_groups import usable_cores
from . import Array, BackendOptions, runtime_failure
from .parts import Part as AnyPart
from .parts import PartInTurn, check_parts, run_in_turn

SIGNATURE = "serving_default"
XNNPACK = "XNNPACK"
_RAN_OUT = "allocate memory"  # "allocate" alone is in every failure of allocate_tensors
_LESS_MEMORY = "Use residency 'sequential', a recipe with int8 weights, or a smaller image."
_PACKED = "packed"
_WIDENED = 4
"""How many times a graph's size its packed weights may take on the disk: int8 as float32."""

_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, UnicodeDecodeError)
"""What the interpreter raises: ValueError where a file is no graph; TypeError and LookupError where
it names a tensor by a number that none can have; RuntimeError for the rest."""


class Graph(AnyPart, Protocol):
    """One graph that is loaded, and whether XNNPACK took it; its outputs are copies."""

    is_delegated: bool


class LoadsCompiled(Protocol):
    """Loads a file's signature with more of XNNPACK's options than the interpreter takes."""

    def __call__(
        self,
        path: Path,
        signature: str,
        threads: int,
        *,
        in_float16: bool = False,
        packed: Optional[Path] = None,
    ) -> Graph:
        """Load a graph; see `litert_compiled.CompiledPart`."""


class TfliteBackend:
    """Run ``.tflite`` files, mapped by their path.

    ``interpreter`` is the class; ``storages`` are the types of weights that it is known to run
    right, None for all; ``compiled`` loads what computes in float16 or has its packed weights in a
    file, None where the package has no way to ask for it. Both packages have one processor, XNNPACK
    on the CPU's cores, which packs the weights for its kernels: into a file of which pages are
    mapped where ``memory`` is ``lean``, else into memory of its own. ``auto`` is lean for large
    graphs where there is a folder that keeps the file for the next process.
    """

    available_providers = (XNNPACK,)

    def __init__(
        self,
        name: str,
        version: str,
        interpreter: Any,
        options: BackendOptions,
        storages: Optional[frozenset[str]] = None,
        compiled: Optional[LoadsCompiled] = None,
    ) -> None:
        self.name = name
        self.version = version
        self.options = options
        self._interpreter = interpreter
        self._storages = storages
        self._compiled = compiled
        self._kept = OptimizedGraphs(options.optimized, version, str(options.arithmetic))

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types XNNPACK doesn't compute here what is given in float32."""
        gaps = {BFLOAT16: "XNNPACK computes in float32 and float16"}
        if self._compiled is None:
            gaps[FLOAT16] = f"{self.name} has no way to ask for it, ai_edge_litert 2.1 has"
        elif processor_gap(FLOAT16):
            gaps[FLOAT16] = processor_gap(FLOAT16)
        return gaps

    def load(self, path: Path, component: Component) -> TfliteSession:
        """Load a graph, or all parts of one that is cut; see `Backend.load`."""
        for provider in self.options.providers:
            if provider not in self.available_providers:
                raise RunnerFailure(
                    "missing-provider",
                    f"{self.name} has no {provider}.",
                    nearest(provider, self.available_providers),
                )
        foreign = sorted(component.storages - (self._storages or component.storages))
        if foreign:
            raise RunnerFailure(
                "bad-request",
                f"{self.name} does not run recipes with {', '.join(foreign)} weights, and the "
                f"package's is {component.recipe!r}.",
                "Use ai_edge_litert (pip install ai-edge-litert), or a package of another recipe.",
            )
        arithmetic = arithmetic_of(
            self.options.arithmetic, component, self.arithmetic_gaps, self.name
        )
        parts = [self._part(file, component, arithmetic) for file in (path, *component.parts)]
        check_parts(component, parts)
        used = (XNNPACK,) if any(part.is_delegated for part in parts) else ()
        if self.options.providers and not used:
            raise RunnerFailure(
                "missing-provider",
                f"{component.name} would not run on {XNNPACK}: it took none of its operators.",
                "Leave the provider out to run it on the runtime's plain kernels.",
            )
        return TfliteSession(component, parts, used, arithmetic)

    def _part(self, path: Path, component: Component, arithmetic: str) -> Graph:
        def load() -> Graph:
            return self._load_part(path, component.name, arithmetic)

        return _InTurn(load) if component.in_turn else load()

    def _load_part(self, path: Path, component: str, arithmetic: str) -> Graph:
        threads = self.options.threads or usable_cores()  # its own default is one
        in_float16 = arithmetic == FLOAT16
        try:
            if self._compiled is not None and self._packs_into_a_file(path):
                # Whatever ails the file, or writing it: there is memory.
                with (
                    contextlib.suppress(RuntimeError, ValueError, OSError),
                    self._kept.folder_of(
                        f"{component}/{path.name}",
                        _PACKED,
                        path,
                        at_most_bytes=_WIDENED * size_bytes(path),
                    ) as folder,
                ):
                    packed = folder / _PACKED
                    return self._compiled(
                        path, SIGNATURE, threads, in_float16=in_float16, packed=packed
                    )
            if self._compiled is not None and in_float16:
                return self._compiled(path, SIGNATURE, threads, in_float16=True)
            interpreter = self._interpreter(model_path=str(path), num_threads=threads)
            signatures = interpreter.get_signature_list()
            if SIGNATURE not in signatures:
                raise RunnerFailure(
                    "bad-package",
                    f"{path} has no signature {SIGNATURE!r}.",
                    f"It has {', '.join(signatures) or 'none'}. Build the package again.",
                )
            interpreter.allocate_tensors()
            if self.options.is_lean(path):
                give_back_pages((folder_mark(path.parent),))  # the weights are packed
            return Part(interpreter)
        except _FAILURES as error:
            raise runtime_failure(
                f"{self.name} cannot load {path}", error, _LESS_MEMORY, ran_out=_RAN_OUT
            ) from error

    def _packs_into_a_file(self, path: Path) -> bool:
        """Return whether it does: unasked, only where the file is kept for the next process."""
        is_kept = self.options.memory == "lean" or self.options.optimized is not None
        return is_kept and self.options.is_lean(path)


class Part:
    """A graph in the interpreter."""

    def __init__(self, interpreter: Any) -> None:
        self._runner = interpreter.get_signature_runner(SIGNATURE)
        self.inputs = frozenset(self._runner.get_input_details())
        self.outputs = frozenset(self._runner.get_output_details())
        # The interpreter tells no other way which delegates took a part of the graph.
        self.is_delegated = any(
            operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details()
        )

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs, which are copies, from values among which the inputs are."""
        results: dict[str, Array] = self._runner(**{name: values[name] for name in self.inputs})
        return results


class _InTurn(PartInTurn):
    """A graph that is loaded for each time that it computes."""

    def __init__(self, load: Callable[[], Graph]) -> None:
        self.is_delegated = False

        def loaded() -> Graph:
            part = load()
            self.is_delegated = part.is_delegated
            return part

        super().__init__(loaded)


class TfliteSession:
    """A component whose graph, or parts of one, are loaded."""

    def __init__(
        self,
        component: Component,
        parts: Sequence[Graph],
        providers: tuple[str, ...],
        arithmetic: str,
    ) -> None:
        self.providers = providers
        self.arithmetic = arithmetic
        self._component = component
        self._parts = list(parts)

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
            return run_in_turn(self._component, self._parts, calls, outputs)
        except _FAILURES as error:
            raise runtime_failure(
                f"The runtime failed in {self._component.name}",
                error,
                _LESS_MEMORY,
                ran_out=_RAN_OUT,
            ) from error

    def close(self) -> None:
        """Give the memory back."""
        self._parts = []
