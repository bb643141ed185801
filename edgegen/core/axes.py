"""The axes of tensors that have a name: `batch`, `height`, `height / 8`."""

from __future__ import annotations

from collections.abc import Mapping


def named_axis(axis: str) -> tuple[str, int]:
    """Return the name of an axis, and by how much it is divided: 8 for `height / 8`, else 1."""
    name, _, divisor = axis.partition(" / ")
    return name, int(divisor or 1)


def axis_size(axis: int | str, sizes: Mapping[str, int]) -> int | str:
    """Return an axis as a number where `sizes` has its name, else as it is.

    An odd size halves to the larger half, as a convolution of stride 2 with padding makes it.

    >>> axis_size("height / 16", {"height": 520})
    33
    """
    if isinstance(axis, int):
        return axis
    name, divisor = named_axis(axis)
    return -(-sizes[name] // divisor) if name in sizes else axis
