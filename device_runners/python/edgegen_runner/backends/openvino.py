"""OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, Optional

import numpy as np
import openvino as ov

from ..arithmetic import BFLOAT16, FLOAT16, FLOAT32, arithmetic_of, processor_gap
from ..errors import RunnerFailure, nearest
from ..heap import map_large_blocks, trim
from ..mapped_pages import folder_mark, give_back_shared_pages, giving_back
from ..optimized import OptimizedGraphs, size_bytes
from ..package import Component
from . import Array, BackendOptions, require_outputs, runtime_failure
from .openvino_rewrites import rewrite, widen, widens

CPU = "CPU"
_TYPES = {FLOAT32: "f32", BFLOAT16: "bf16", FLOAT16: "f16"}
_CAPABILITIES = {BFLOAT16: "BF16", FLOAT16: "FP16"}
_WIDE_GRAPH = "widened.xml"
_FAILURES = (RuntimeError, UnicodeDecodeError)
_LESS_MEMORY = "Use residency 'sequential', a recipe with int8 weights, or a smaller image."


class OpenVinoBackend:
    """Run ``.xml`` graphs, their weights in the ``.bin`` beside them.

    ``providers`` are OpenVINO's devices: CPU, GPU, NPU, or one of several (GPU.1). With more than
    one, each operator goes to the first that has it (HETERO). AUTO is not used: it would choose by
    itself, and change its choice while it runs. Where nobody says, the processor computes in the
    recipe's type, and GPUs and NPUs in their own, which is float16.

    For the processor graphs are said another way (`openvino_rewrites`), but for small ones that are
    kept compiled. It copies weights out of the mapped file while it compiles a graph, and when that
    first runs. ``memory`` ``lean``, and ``auto`` for large graphs, take the file's pages back
    meanwhile, and after each run.
    """

    name = "openvino"

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.version = str(ov.__version__).partition("-")[0]
        self._core = ov.Core()
        self._optimized = OptimizedGraphs(
            options.optimized, str(ov.__version__), str(options.arithmetic)
        )
        self.available_providers = tuple(str(name) for name in self._core.available_devices)

    def load(self, path: Path, component: Component) -> OpenVinoSession:
        """Load a graph; see `Backend.load`."""
        wanted = self.options.providers or (CPU,)
        for device in wanted:
            if not _is_among(device, self.available_providers):
                raise RunnerFailure(
                    "missing-provider",
                    f"OpenVINO finds no device {device} here.",
                    nearest(device, self.available_providers)
                    + " A GPU or an NPU needs its driver, and a group that may use it.",
                )
        arithmetic = arithmetic_of(
            self.options.arithmetic, component, self.arithmetic_gaps, self.name
        )
        device = wanted[0] if len(wanted) == 1 else "HETERO:" + ",".join(wanted)
        try:
            settings = self._settings(wanted, arithmetic)
            times = _times_as_wide(component)
            kept = self._optimized.place(path, component.name, times)
            if kept is not None:
                settings["CACHE_DIR"] = str(kept)
            lean = self.options.is_lean(path, times)
            if lean:
                map_large_blocks()
            lent: list[ov.Node] = []
            folders = [path.parent]
            if lean and (place := self._optimized.place_of_any(component.name)) is not None:
                folders.append(place)
            with giving_back(*folders) if lean else nullcontext():
                if kept is not None or device != CPU:
                    # By its path, which finds a kept graph without reading this one.
                    compiled = self._core.compile_model(str(path), device, settings)
                else:
                    graph = self._read(path, component.name, lean, times)
                    lent = rewrite(graph, arithmetic)
                    compiled = self._core.compile_model(graph, device, settings)
                    del graph  # and what it holds of the mapped file
            found = tuple(str(name) for name in compiled.get_property("EXECUTION_DEVICES"))
            request = compiled.create_infer_request()
            used = tuple(name for name in wanted if _is_among(name, found))
            computes_in = arithmetic if len(wanted) > 1 else _arithmetic_of(compiled)
            session = OpenVinoSession(component, compiled, request, used, computes_in)
            session.lent = lent
            if lean:
                session.first_run = giving_back(*folders)
                session.mapped = tuple(folder_mark(folder) for folder in folders)
        except _FAILURES as error:
            raise runtime_failure(f"OpenVINO cannot load {path}", error, _LESS_MEMORY) from error
        if used[:1] != wanted[:1]:
            raise RunnerFailure(
                "missing-provider",
                f"{component.name} would not run on {wanted[0]} but on {', '.join(found)}.",
                "Ask for that device, or find out from OpenVINO's log what it lacks.",
            )
        if self.options.arithmetic not in (None, session.arithmetic):
            raise RunnerFailure(
                "missing-provider",
                f"OpenVINO computes {component.name} in {session.arithmetic} on {wanted[0]}, not "
                f"in {self.options.arithmetic}.",
                "Leave the arithmetic to the device, or run it on the processor.",
            )
        return session

    def _read(self, path: Path, component: str, lean: bool, times: int) -> ov.Model:
        """Read a graph; of one with kernels of integers, read what is written of it.

        They lie in that file in float16, where their pages are taken back as those of any weights.
        Unasked, only a file that is kept is written. Where there is no room for it, the plugin
        keeps them in float32.
        """
        graph = self._core.read_model(path)
        is_kept = self.options.memory == "lean" or self.options.optimized is not None
        if not (lean and is_kept and widens(graph)):
            return graph
        most = times * size_bytes(path)
        with (
            suppress(*_FAILURES, OSError),
            self._optimized.folder_of(component, _WIDE_GRAPH, path, at_most_bytes=most) as folder,
        ):
            wide = folder / _WIDE_GRAPH
            if not wide.is_file():
                widen(graph)
                ov.save_model(graph, wide, compress_to_fp16=False)
                del graph
                trim()
            return self._core.read_model(wide)
        return self._core.read_model(path)

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types the first of the devices doesn't compute."""
        device = (self.options.providers or (CPU,))[0]
        said: Sequence[str] = ()
        if _is_among(device, self.available_providers):
            said = self._core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        gaps = {}
        for name, word in _CAPABILITIES.items():
            # OpenVINO takes AVX-512 for bfloat16, too, and emulates it there.
            gap = processor_gap(name) if device == CPU else ""
            if word not in said:
                gap = gap or f"OpenVINO has no {word} on {device}"
            if gap:
                gaps[name] = gap
        return gaps

    def _settings(self, wanted: Sequence[str], arithmetic: str) -> dict[str, Any]:
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if CPU in wanted or self.options.arithmetic is not None:
            # Else a processor with bfloat16 computes in it. GPUs and NPUs keep their own type,
            # which is float16: the golden case says whether the image bears that.
            settings["INFERENCE_PRECISION_HINT"] = _TYPES[arithmetic]
        if CPU in wanted and self.options.threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.options.threads
        return settings


class OpenVinoSession:
    """A compiled graph and its one request."""

    def __init__(
        self,
        component: Component,
        compiled: Any,
        request: Any,
        providers: tuple[str, ...],
        arithmetic: str,
    ) -> None:
        self.providers = providers
        self.arithmetic = arithmetic
        self.first_run: AbstractContextManager[None] = nullcontext()
        self.lent: list[ov.Node] = []
        """What its graph reads in; see `rewrite`."""
        self.mapped: tuple[str, ...] = ()
        """Folders of mapped files of which it keeps no pages; see `folder_mark`."""
        self._component = component
        self._compiled = compiled
        self._request = request
        self._inputs = _ports(component.name, component.inputs, compiled.inputs)
        self._outputs = _ports(component.name, component.outputs, compiled.outputs)

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs; see `Session.run`."""
        names = list(self._outputs) if outputs is None else list(outputs)
        require_outputs(self._component, names)
        feeds = {self._inputs[name]: value for name, value in inputs.items()}
        try:
            first, self.first_run = self.first_run, nullcontext()
            with first:
                self._request.infer(feeds, share_outputs=True)
            if self.mapped:
                give_back_shared_pages(self.mapped)
            # Copies: the tensors are the request's, and the next run writes into them.
            return {
                name: np.array(self._request.get_tensor(self._outputs[name]).data) for name in names
            }
        except _FAILURES as error:
            raise runtime_failure(
                f"OpenVINO failed in {self._component.name}", error, _LESS_MEMORY
            ) from error

    def rest(self) -> None:
        """Give back what lies between its layers; see `Rests`."""
        self._compiled.release_memory()

    def close(self) -> None:
        """Give the memory back."""
        self._request = self._compiled = None
        self._inputs, self._outputs, self.lent = {}, {}, []


def _arithmetic_of(compiled: Any) -> str:
    """Return the type in which a compiled graph computes, as OpenVINO says."""
    said = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    # "dynamic" is that the device has no other.
    return next((name for name, word in _TYPES.items() if word == said), FLOAT32)


def _times_as_wide(component: Component) -> int:
    """Return how many times as wide as in the file a component's weights may be in 16 bits."""
    if component.storages & {"int4", "uint4"}:
        return 4
    return 2 if "int8" in component.storages else 1


def _is_among(device: str, known: Sequence[str]) -> bool:
    """Say whether a device is known; several GPUs are called GPU.0, GPU.1, …, and any is a GPU."""
    return any(name == device or name.partition(".")[0] == device for name in known)


def _ports(component: str, names: Mapping[str, Any], ports: Sequence[Any]) -> dict[str, Any]:
    """Return each declared tensor's port in the graph."""
    found = {name: port for port in ports for name in port.get_names()}
    missing = [name for name in names if name not in found]
    if missing:
        raise RunnerFailure(
            "bad-package",
            f"The graph of {component} has no {', '.join(missing)}, which the manifest declares.",
            f"It has {', '.join(sorted(found))}. Build the package again.",
        )
    return {name: found[name] for name in names}
