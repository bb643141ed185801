"""Core ML, through coremltools, on a Mac.

Held against coremltools' own classes, and never run on hardware by those who wrote it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import coremltools as ct

from ..arithmetic import ARITHMETICS, arithmetic_of
from ..errors import RunnerFailure, nearest
from ..package import Component
from . import Array, BackendOptions, coreml_tensors, runtime_failure

_LESS_MEMORY = "Use residency 'sequential', a recipe with smaller weights, or a smaller image."
_FAILURES = (RuntimeError, ValueError, TypeError)


class CoreMlBackend:
    """Run ``.mlpackage`` folders, compiled once into a cache outside of the package.

    ``providers`` is one of Core ML's compute units; none means ALL, of which Core ML chooses for
    each operation by itself, and does not tell what it chose.
    """

    name = "coreml"
    available_providers = tuple(unit.name for unit in ct.ComputeUnit)

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self.version = str(ct.__version__)

    @property
    def arithmetic_gaps(self) -> Mapping[str, str]:
        """Return in which types it doesn't compute: a program says the type of each operation."""
        return dict.fromkeys(ARITHMETICS[1:], "Core ML takes the types that the program declares")

    def load(self, path: Path, component: Component) -> CoreMlSession:
        """Load a program, or the chunks of one that is cut; see `Backend.load`."""
        arithmetic_of(self.options.arithmetic, component, self.arithmetic_gaps, self.name)
        units = self.options.providers or ("ALL",)
        if len(units) > 1 or units[0] not in self.available_providers:
            raise RunnerFailure(
                "missing-provider",
                f"Core ML has no compute unit {' + '.join(units)}.",
                nearest(units[0], self.available_providers),
            )
        try:
            parts = [
                CompiledPart(file, ct.ComputeUnit[units[0]]) for file in (path, *component.parts)
            ]
        except _FAILURES as error:
            raise runtime_failure(f"Core ML cannot load {path}", error, _LESS_MEMORY) from error
        return CoreMlSession(component, parts, units)


class CompiledPart:
    """One compiled program: its inputs' names, and how to run it."""

    def __init__(self, path: Path, unit: Any) -> None:
        # The model's own file: opened as a package, coremltools would write its manifest anew.
        spec = ct.utils.load_spec(str(path / "Data" / "com.apple.CoreML" / "model.mlmodel"))
        self.inputs = frozenset(each.name for each in spec.description.input)
        self._model = ct.models.CompiledMLModel(str(_compiled(path)), unit)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs."""
        results: dict[str, Array] = self._model.predict(dict(inputs))
        return results


class CoreMlSession:
    """A component whose program, or chunks of one, are loaded."""

    def __init__(
        self, component: Component, parts: Sequence[CompiledPart], providers: tuple[str, ...]
    ) -> None:
        self.providers = providers
        self.arithmetic = component.compute
        self._component = component
        self._parts = list(parts)

    def run(
        self, inputs: Mapping[str, Array], outputs: Optional[Sequence[str]] = None
    ) -> dict[str, Array]:
        """Compute outputs; see `Session.run`."""
        try:
            return coreml_tensors.run_programs(self._component, self._parts, inputs, outputs)
        except _FAILURES as error:
            raise runtime_failure(
                f"Core ML failed in {self._component.name}", error, _LESS_MEMORY
            ) from error

    def close(self) -> None:
        """Give the memory back."""
        self._parts = []


def _compiled(package: Path) -> Path:
    """Return the compiled form of a package, which is made once and kept in the cache."""
    digest = hashlib.sha256()
    for path in sorted(item for item in package.rglob("*") if item.is_file()):
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    folder = _cache() / digest.hexdigest()[:16]
    target = folder / f"{package.stem}.mlmodelc"
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f"{package.stem}.{os.getpid()}.mlmodelc"
        ct.models.utils.compile_model(str(package), str(beside))
        try:
            beside.rename(target)
        except OSError:
            if not target.is_dir():  # another process was first
                raise
    return target


def _cache() -> Path:
    return Path.home() / "Library" / "Caches" / "edgegen" / "coreml"
