"""What gives a component's weights: their names and shapes at once, their values one at a time.

A folder of safetensors is one (`models/weights.py`); whoever takes weights knows no more of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray


class WeightEntry(Protocol):
    """A tensor as a header describes it."""

    @property
    def dtype(self) -> str:
        """Return the type that it is stored in."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return how large it is where it is stored."""
        ...


class WeightSource(Protocol):
    """The weights of a component."""

    @property
    def name(self) -> str:
        """Return what it is called in an error."""
        ...

    @property
    def entries(self) -> Mapping[str, WeightEntry]:
        """Return all tensors, by key."""
        ...

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        """Read a tensor, converted to `dtype` where given; `again` says that it is read again soon.

        Raises SourceError.
        """
        ...
