"""How an OpenVINO graph holds weights: a codec's name -> the constants that its weights become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgegen.exporters.openvino.graph import ElementType

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's constants.

    `dtype` is the type of its values. Where it has scales, `scales_shape` returns the shape in
    which they multiply a weight, from the weight's shape in the graph and its output channels.
    """

    dtype: ElementType
    scales_shape: Callable[[Shape, int], Shape] | None = None


def _by_channel(shape: Shape, channels: int) -> Shape:
    """Return the shape of a scale a channel.

    A grouped convolution's weight has its channels in two axes: (groups, channels / groups, …).

    >>> _by_channel((2, 3, 8, 5, 5), 6)
    (2, 3, 1, 1, 1)
    """
    leading = 1 if shape[0] == channels else 2
    return (*shape[:leading], *[1] * (len(shape) - leading))


STORED: Mapping[str, Stored] = {
    "float32": Stored(dtype="f32"),
    "float16": Stored(dtype="f16"),
    "int8": Stored(dtype="i8", scales_shape=_by_channel),
}
