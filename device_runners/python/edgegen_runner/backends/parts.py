"""Graphs that are cut into parts: each gets the inputs, and what those before it gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Optional, Protocol

from ..errors import RunnerFailure
from ..package import Component
from . import Array, require_outputs


class Part(Protocol):
    """One graph: its inputs' and outputs' names, and how to run it."""

    @property
    def inputs(self) -> frozenset[str]:
        """Return the names of what it takes."""

    @property
    def outputs(self) -> frozenset[str]:
        """Return the names of what it gives."""

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs from values among which the inputs are."""


class PartInTurn:
    """A graph that is in memory only while it computes: ``load`` loads it anew each time."""

    def __init__(self, load: Callable[[], Part]) -> None:
        part = load()
        self.inputs, self.outputs = part.inputs, part.outputs
        self._load = load

    def loaded(self) -> Part:
        """Load it, for as long as the caller has it."""
        return self._load()

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs from values among which the inputs are."""
        return self._load().run(values)


def check_parts(component: Component, parts: Sequence[Part]) -> None:
    """Refuse graphs that do not fit together, or do not compute what the manifest declares.

    Raises RunnerFailure (bad-package).
    """
    known = set(component.inputs)
    for number, part in enumerate(parts, start=1):
        unknown = sorted(part.inputs - known)
        if unknown:
            raise RunnerFailure(
                "bad-package",
                f"Part {number} of {component.name} wants {', '.join(unknown)}, which no earlier "
                "part computes.",
                "Build the package again.",
            )
        known |= part.outputs
    missing = sorted(set(component.outputs) - frozenset().union(*(p.outputs for p in parts)))
    if missing:
        raise RunnerFailure(
            "bad-package",
            f"The graph of {component.name} has no {', '.join(missing)}, which the manifest "
            "declares.",
            "Build the package again.",
        )


def run_in_turn(
    component: Component,
    parts: Sequence[Part],
    calls: Sequence[Mapping[str, Array]],
    outputs: Optional[Sequence[str]],
) -> list[dict[str, Array]]:
    """Compute a component's outputs for the inputs of each call, one part for all after the other.

    What no later part takes is let go of. Raises RunnerFailure (bad-package) for an output that the
    component doesn't have.
    """
    names = list(component.outputs if outputs is None else outputs)
    require_outputs(component, names)
    known = [dict(inputs) for inputs in calls]
    for index, part in enumerate(parts):
        if all(name in values for values in known for name in names):
            break  # what is asked for does not need the parts that are left
        later = frozenset(names).union(*(it.inputs for it in parts[index + 1 :]))
        loaded = part.loaded() if isinstance(part, PartInTurn) else part
        for number, values in enumerate(known):
            values.update(loaded.run(values))
            known[number] = {name: value for name, value in values.items() if name in later}
        del loaded  # before the next is loaded
    return [{name: values[name] for name in names} for values in known]
