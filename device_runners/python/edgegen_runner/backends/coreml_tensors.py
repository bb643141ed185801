"""Between the pipelines' tensors and those of a Core ML package, whose names are Apple's.

A package's programs take and give float32 only, also token ids, and text as (batch, channels, 1,
sequence): so Apple's own Swift package can load them. The manifest has each name and layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional, Protocol

import numpy as np

from ..errors import RunnerFailure
from ..generation import NativeTensor
from ..package import Component
from . import Array, require_outputs


class Program(Protocol):
    """A program, or a chunk of one, that is loaded."""

    @property
    def inputs(self) -> Iterable[str]:
        """Return the names of what it takes."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs."""


def run_programs(
    component: Component,
    programs: Sequence[Program],
    inputs: Mapping[str, Array],
    outputs: Optional[Sequence[str]],
) -> dict[str, Array]:
    """Compute a component's outputs; each program gets the inputs, and what those before it gave.

    Raises RunnerFailure (bad-package) where an output is unknown, or nothing computes an input.
    """
    names = list(component.outputs if outputs is None else outputs)
    require_outputs(component, names)
    values = feeds(component, inputs)
    for program in programs:
        missing = sorted(set(program.inputs) - set(values))
        if missing:
            raise RunnerFailure(
                "bad-package",
                f"The program of {component.name} wants {', '.join(missing)}, which nothing "
                "computes.",
                "Build the package again.",
            )
        values.update(program.run({name: values[name] for name in program.inputs}))
    return results(component, values, names)


def feeds(component: Component, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return what a program takes for a component's inputs."""
    result = {}
    for name, value in inputs.items():
        array = np.asarray(value, np.float32)
        native = _native(component, name)
        if native.layout == "channels-first":
            array = array.transpose(0, 2, 1)[:, :, None, :]
        result[native.name] = np.ascontiguousarray(array)
    return result


def results(
    component: Component, values: Mapping[str, Array], names: Sequence[str]
) -> dict[str, Array]:
    """Return a component's outputs from a program's."""
    return {name: np.asarray(values[_native(component, name).name]) for name in names}


def _native(component: Component, tensor: str) -> NativeTensor:
    return component.natives.get(tensor) or NativeTensor(tensor)
