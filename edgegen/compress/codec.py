"""What a codec is: how weights are stored in fewer bits, and how numbers come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Granularity:
    """How many weights share a scale or a palette; a codec heeds what concerns it.

    `axis` is that of the output channels. Without `per_channel` one scale serves the whole weight.
    With `half_scales` scales are numbers that float16 has. `palette_channels` is how many channels
    share a palette; None is all of them. `block` is how many numbers of the second axis share a
    scale, where a codec has blocks; None is the codec's own.
    """

    axis: int = 0
    per_channel: bool = True
    half_scales: bool = False
    palette_channels: int | None = None
    block: int | None = None


BY_CHANNEL = Granularity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A weight as its codec stores it.

    `values` has the weight's shape: its numbers, integers that `scales` multiply, or indices into a
    palette. `scales` has as many axes, each as long as the values' or a divisor of that, so that
    one scale serves a run of values; `zero_points`, of the scales' shape, are subtracted from the
    values before. `palettes` is (groups, numbers): the groups are runs of the
    first axis, equally long.
    """

    values: NDArray[Any]
    scales: NDArray[np.float32] | None = None
    zero_points: NDArray[np.uint8] | None = None
    palettes: NDArray[np.float16] | None = None


class Codec(Protocol):
    """One type of storage. Arithmetic only: a target's writer knows its format."""

    @property
    def bits(self) -> int:
        """The bits of one weight, without scales and palettes."""

    @property
    def reads(self) -> np.dtype[Any] | None:
        """The type in which `encode` wants a weight; None: as its file has it, float16 or 32."""

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        """Compress a weight, in little more memory than it and the result take."""

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        """Return the numbers that a device computes with."""

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        """Return what a weight of `shape` takes, where one scale takes `scale_bytes`."""


def packed_bytes(elements: int, bits: int) -> int:
    """Return the bytes of numbers of `bits` that are packed without gaps."""
    return -(-elements * bits // 8)


def scaled(encoded: Encoded) -> NDArray[np.float32]:
    """Return values, less their zero points, times scales: each serves a run of values."""
    if encoded.scales is None:
        raise ValueError("values without scales")
    shape = encoded.values.shape
    values: NDArray[Any] = encoded.values
    if encoded.zero_points is not None:
        values = values.astype(np.float32) - _repeated(encoded.zero_points, shape)
    product: NDArray[np.float32] = np.multiply(
        values, _repeated(encoded.scales, shape), dtype=np.float32
    )
    return product


def _repeated(by_run: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    for axis, size in enumerate(shape):
        by_run = np.repeat(by_run, size // by_run.shape[axis], axis=axis)
    return by_run
