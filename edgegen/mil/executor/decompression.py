"""What the operations `constexpr_…` compute: weights from their compressed forms.

Source: coremltools, "MIL Ops", those of iOS 16 and of iOS 18. Results are numpy arrays in the type
that the operation declares.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import IntegrityError
from edgegen.mil.executor.arguments import Arguments
from edgegen.mil.types import unpack_bits


def affine(arguments: Arguments) -> NDArray[Any]:
    """Compute `(data − zero point) × scale`, along an axis (iOS 16)."""
    data = arguments.array("quantized_data")
    scale, zero = arguments.array("scale"), arguments.array("zero_point")
    axis = arguments.integer("axis") % data.ndim
    shape = [1] * data.ndim
    shape[axis] = -1
    if any(numbers.size not in (1, data.shape[axis]) for numbers in (scale, zero)):
        raise _broken(f"{data.shape[axis]} parts do not have as many scales and zero points")
    wide = data.astype(np.float32) - _along(zero, shape).astype(np.float32)
    result: NDArray[Any] = wide * _along(scale, shape).astype(np.float32)
    return result.astype(scale.dtype)


def look_up(arguments: Arguments) -> NDArray[Any]:
    """Replace indices by the numbers of a palette, or of the palettes of groups (iOS 18).

    Where palettes hold vectors, each index stands for one, whose numbers follow each other along
    `vector_axis`.
    """
    if "shape" in arguments:
        return _look_up_packed(arguments)
    indices, palettes = arguments.array("indices"), arguments.array("lut")
    groups, vector = palettes.shape[: indices.ndim], palettes.shape[-1]
    if palettes.ndim != indices.ndim + 2:
        raise _broken("a palette does not have two axes more than its indices")
    if vector < 1 or (vector != 1 and "vector_axis" not in arguments):
        raise _broken(f"a palette holds vectors of {vector} numbers along no axis")
    places = [
        _spread(group, size, axis, indices.ndim)
        for axis, (group, size) in enumerate(zip(groups, indices.shape, strict=True))
    ]
    if indices.size and int(indices.max()) >= palettes.shape[-2]:
        raise _broken("an index is beyond its palette")
    found: NDArray[Any] = palettes[(*places, indices)]
    if vector == 1:
        return found[..., 0]
    axis = arguments.integer("vector_axis")
    if not -indices.ndim <= axis < indices.ndim:
        raise _broken(f"there is no axis {axis} for the vectors of a palette")
    axis %= indices.ndim
    shape = [size * (vector if at == axis else 1) for at, size in enumerate(indices.shape)]
    return np.moveaxis(found, -1, axis + 1).reshape(shape)


def _look_up_packed(arguments: Arguments) -> NDArray[Any]:
    palette, packed = arguments.array("lut"), arguments.array("indices")
    shape = arguments.integers("shape")
    bits = palette.size.bit_length() - 1
    if 1 << bits != palette.size or bits not in (1, 2, 4, 6, 8):
        raise _broken(f"a palette has {palette.size} numbers")
    count = math.prod(shape)
    if min(shape, default=0) < 0:
        raise _broken(f"it has the shape {shape}")
    if packed.size != -(-count * bits // 8):
        raise _broken(f"{count} indices of {bits} bits are not {packed.size} bytes")
    found: NDArray[Any] = palette[unpack_bits(packed.reshape(-1), count, bits)].reshape(shape)
    return found


def blockwise(arguments: Arguments) -> NDArray[Any]:
    """Compute `(data − offset) × scale`, with a scale for each block (iOS 18)."""
    data, scale = arguments.array("data"), arguments.array("scale")
    if scale.ndim != data.ndim:
        raise _broken("scales of blocks do not have as many axes as their data")
    wide = data.astype(np.float32)
    if "offset" in arguments:
        wide = wide - _repeated(arguments.array("offset").astype(np.float32), data.shape)
    result: NDArray[Any] = wide * _repeated(scale.astype(np.float32), data.shape)
    return result.astype(scale.dtype)


def sparse(arguments: Arguments) -> NDArray[Any]:
    """Put numbers where a mask says so, and zeros elsewhere."""
    numbers, mask = arguments.array("nonzero_data"), arguments.array("mask")
    if "shape" in arguments:
        shape = arguments.integers("shape")
        if min(shape, default=0) < 0 or mask.size != -(-math.prod(shape) // 8):
            raise _broken(f"a mask of the shape {shape} does not have {mask.size} bytes")
        mask = unpack_bits(mask.reshape(-1), math.prod(shape), 1).reshape(shape)
    if int(np.count_nonzero(mask)) != numbers.size:
        raise _broken("a sparse weight does not have as many numbers as its mask says")
    result = np.zeros(mask.shape, numbers.dtype)
    result[mask != 0] = numbers.reshape(-1)
    return result


def cast(arguments: Arguments) -> NDArray[Any]:
    """Return numbers in another type."""
    source: NDArray[Any] = arguments.array("source_val")
    wanted: Any = {"fp16": np.float16, "fp32": np.float32}[arguments.text("output_dtype")]
    return source.astype(wanted)


DECOMPRESSIONS: Mapping[str, Callable[[Arguments], NDArray[Any]]] = {
    "constexpr_affine_dequantize": affine,
    "constexpr_blockwise_shift_scale": blockwise,
    "constexpr_cast": cast,
    "constexpr_lut_to_dense": look_up,
    "constexpr_sparse_to_dense": sparse,
}


def _along(numbers: NDArray[Any], shape: list[int]) -> NDArray[Any]:
    return numbers.reshape(shape) if numbers.ndim else numbers


def _spread(groups: int, size: int, axis: int, rank: int) -> NDArray[np.intp]:
    if size % groups:
        raise _broken(f"{size} is no multiple of its {groups} groups")
    shape = [1] * rank
    shape[axis] = -1
    return np.repeat(np.arange(groups), size // groups).reshape(shape)


def _repeated(numbers: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    for axis, size in enumerate(shape):
        groups = numbers.shape[axis]
        if size % groups:
            raise _broken(f"{size} is no multiple of its {groups} blocks")
        if groups not in (1, size):
            numbers = np.repeat(numbers, size // groups, axis)
    return numbers


def _broken(why: str) -> IntegrityError:
    return IntegrityError(
        f"A weight cannot be decompressed: {why}.", hint="The file is damaged; build it again."
    )
