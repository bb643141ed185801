"""Where a graph can read the sizes of its open axes, and how a reshape keeps them open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from edgegen.core.errors import ExportError
from edgegen.exporters.capture import Axis, Shape, Size

V = TypeVar("V")


class OpenAxes(Generic[V]):
    """The first value, and its axis, that had each open size."""

    def __init__(self) -> None:
        self._known: dict[Size, tuple[V, int]] = {}

    def remember(self, value: V, shape: Shape) -> None:
        """Let later nodes find a size as an axis of this value."""
        for axis, size in enumerate(shape):
            if isinstance(size, Size):
                self._known.setdefault(size, (value, axis))

    def find(self, size: Size, component: str, layer: str) -> tuple[V, int]:
        """Return a value and its axis. Raises ExportError where no tensor so far has the size."""
        if size not in self._known:
            raise ExportError(
                f"{component}: {layer or 'the top'} needs a size that no tensor has.",
                hint="Please report the model's config.",
            )
        return self._known[size]

    def reshape_target(self, old: Shape, new: Shape) -> list[Axis]:
        """Return a reshape's target: 0 for an open axis that stays, −1 for one that is inferred.

        What is inferred is an axis that no tensor has, else the last.
        """
        copied = [
            isinstance(size, Size) and index < len(old) and size == old[index]
            for index, size in enumerate(new)
        ]
        open_axes = [
            index for index, size in enumerate(new) if isinstance(size, Size) and not copied[index]
        ]
        inferred = self._inferred(new, open_axes)
        return [
            0 if copied[index] else -1 if index == inferred else size
            for index, size in enumerate(new)
        ]

    def _inferred(self, new: Shape, open_axes: Sequence[int]) -> int | None:
        unseen = [axis for axis in open_axes if new[axis] not in self._known]
        return (unseen or open_axes)[-1] if open_axes else None
