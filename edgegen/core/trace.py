"""What a component computes at one size, operator by operator: the record of a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgegen.core.model import DType

DTYPE_BYTES: dict[str, int] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator, whose result has a shape and a type; an input of the component is one, too.

    `kind` is torch's name of it (`conv2d`, `linear`) or `input`. `layer` is the path of the module
    that calls it. `takes` are the positions of the operators whose results it reads, `weights` the
    shapes of the parameters that it reads.
    """

    kind: str
    layer: str
    shape: tuple[int, ...]
    dtype: DType
    takes: tuple[int, ...] = ()
    weights: tuple[tuple[int, ...], ...] = ()

    @property
    def elements(self) -> int:
        """Return how many numbers its result has."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Return what its result takes in the type of the trace."""
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTrace:
    """The operators of a component in the order in which they run, and which give its outputs.

    What does not depend on the inputs is left out: exporters fold it.
    """

    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]
