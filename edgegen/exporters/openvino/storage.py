"""How an OpenVINO graph holds weights: a codec's name -> the constants that its weights become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.compress.blocks import BLOCK, block_size
from edgegen.exporters.openvino.graph import ElementType

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A codec's constants.

    `dtype` is the type of its values, `scales` that of its scales where it has some, and
    `zero_points` that of what is subtracted before. Scales are those of output channels or,
    `in_blocks`, of runs of the second axis.
    """

    dtype: ElementType
    scales: ElementType | None = None
    zero_points: ElementType | None = None
    in_blocks: bool = False

    def values_shape(self, shape: Shape, graph_shape: Shape, block: int | None) -> Shape:
        """Return the shape of the values' constant, for a weight of `shape`.

        `graph_shape` is what the graph multiplies with, as many numbers. Blocks are an axis of
        their own: plugins know compressed weights by that form.

        >>> Stored(dtype="i4", scales="f16", in_blocks=True).values_shape((8, 64), (8, 64), 32)
        (8, 2, 32)
        """
        blocks = self._blocks(shape, block)
        if blocks == 1:
            return graph_shape
        return (shape[0], blocks, shape[1] // blocks, *shape[2:])

    def scales_shape(self, shape: Shape, graph_shape: Shape, block: int | None) -> Shape:
        """Return the shape in which scales and zero points meet the values.

        A grouped convolution's weight has its channels in two axes: (groups, channels / groups, …).

        >>> Stored(dtype="i8", scales="f32").scales_shape((6, 8, 5, 5), (2, 3, 8, 5, 5), None)
        (2, 3, 1, 1, 1)
        """
        blocks = self._blocks(shape, block)
        if blocks == 1:
            leading = 1 if graph_shape[0] == shape[0] else 2
            return (*graph_shape[:leading], *[1] * (len(graph_shape) - leading))
        return (shape[0], blocks, *[1] * (len(shape) - 1))

    def _blocks(self, shape: Shape, block: int | None) -> int:
        return shape[1] // block_size(shape[1], block or BLOCK) if self.in_blocks else 1


STORED: Mapping[str, Stored] = {
    "float32": Stored(dtype="f32"),
    "float16": Stored(dtype="f16"),
    "int8": Stored(dtype="i8", scales="f32"),
    "int4": Stored(dtype="i4", scales="f16", in_blocks=True),
    "uint4": Stored(dtype="u4", scales="f16", zero_points="u4", in_blocks=True),
}
