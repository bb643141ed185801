"""A program as values, before it is protobuf: operations and their results.

Names are those of Core ML's model intermediate language (coremltools, "MIL Ops").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from edgegen.exporters.stored_weights import WeightForm
from edgegen.mil.types import TypeName

Layout = Literal["plain", "channels-first", "heads", "heads-first"]
"""How a value lies in memory, apart from the shape that torch gives it.

The Neural Engine wants (batch, channels, 1, sequence), where torch has (batch, sequence, channels):
that is `channels-first`, which also stores a picture that torch sees as (batch, height, width,
channels) as (batch, channels, height, width). `heads` and `heads-first` are (batch, sequence,
heads, width) and (batch, heads, sequence, width), stored as (batch, heads × width, 1, sequence).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedWeight:
    """A constant whose numbers are a weight of the model, read when the file is written.

    `storage` is the name of its codec.
    """

    form: WeightForm
    storage: str


@dataclass(slots=True, kw_only=True, eq=False)
class Value:
    """A result of an operation, or an input. `shape` is torch's, `layout` how it lies."""

    name: str
    kind: TypeName
    shape: tuple[int, ...]
    layout: Layout = "plain"

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Return the shape in which the program holds it."""
        return stored_shape(self.shape, self.layout)


Argument = Value | Sequence[Value]


@dataclass(slots=True, kw_only=True, eq=False)
class Operation:
    """An operation; a constant's has `data` and no inputs."""

    type: str
    inputs: Mapping[str, Argument]
    outputs: tuple[Value, ...]
    data: NDArray[Any] | str | StreamedWeight | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operations in an order in which they can run."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operations: tuple[Operation, ...]


def stored_shape(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Return the shape in which a value of torch's `shape` is stored.

    >>> stored_shape((2, 77, 768), "channels-first")
    (2, 768, 1, 77)
    """
    if layout == "plain":
        return shape
    if layout == "heads":
        batch, sequence, heads, width = shape
        return (batch, heads * width, 1, sequence)
    if layout == "heads-first":
        batch, heads, sequence, width = shape
        return (batch, heads * width, 1, sequence)
    if len(shape) == 4:
        batch, height, width, channels = shape
        return (batch, channels, height, width)
    batch, sequence, channels = shape
    return (batch, channels, 1, sequence)


def arguments(operation: Operation) -> list[Value]:
    """Return the values that an operation takes."""
    found: list[Value] = []
    for argument in operation.inputs.values():
        found.extend([argument] if isinstance(argument, Value) else argument)
    return found
