"""A LoRA as a package takes it: a safetensors file of the inputs of its layers, made by the host.

``unet/down_blocks.0.….to_q.lora_A`` and ``….lora_B`` are the thin matrices of a layer, in float32
and as its graph wants them, with the scale multiplied in. The header is believed only where it
agrees with the file's size and with the package.

Source: https://github.com/huggingface/safetensors, "Format".
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .errors import RunnerFailure, shortened
from .files import open_regular
from .package import Component, Package
from .table import parse_json

DOWN, UP = ".lora_A", ".lora_B"
"""What the inputs of a layer are called, after its path: PEFT's names."""

Array = npt.NDArray[Any]
Inputs = Mapping[str, Mapping[str, Array]]
"""Component → input → matrix."""

_LENGTH_BYTES = 8
_LARGEST_HEADER_BYTES = 16 << 20
_LARGEST_RANK = 1 << 14
_MOST_AXES = 32
_REMEDY = "Draw by `edgegen run PACKAGE --lora FILE`, which makes it of a LoRA for this package."


def load_lora(path: Path, package: Package) -> Inputs:
    """Read the LoRA that a package is to be drawn with.

    Raises RunnerFailure: ``bad-request`` where the file is broken, or not made for the package.
    """
    try:
        with open_regular(path) as file:
            matrices = dict(_read(file))
    except (OSError, ValueError, RecursionError) as error:
        raise RunnerFailure("bad-request", f"{path} is no LoRA: {error}.", _REMEDY) from error
    if not matrices:
        raise RunnerFailure("bad-request", f"{path} holds no LoRA: it has no matrix.", _REMEDY)
    given = {it.name: _of_component(it, matrices) for it in package.components.values()}
    taken = {f"{it.folder}/{name}" for it in package.components.values() for name in given[it.name]}
    for name in matrices:
        if name not in taken:
            raise RunnerFailure(
                "bad-request",
                f"{path} is not a LoRA of this package, whose layers do not take "
                f"{shortened(name)} {matrices[name].shape}.",
                _REMEDY,
            )
    return given


def shapes_of(weight: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of what a layer takes, down and up, from the shape of its weight.

    >>> shapes_of((320, 768), 4)
    ((768, 4), (4, 320))
    >>> shapes_of((640, 320, 3, 3), 4)
    ((4, 320, 3, 3), (640, 4, 1, 1))
    """
    outputs, inputs, *kernel = weight
    if kernel:
        return (rank, inputs, *kernel), (outputs, rank, *[1] * len(kernel))
    return (inputs, rank), (rank, outputs)


def _of_component(component: Component, matrices: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs of a component: pairs of matrices that fit its layers."""
    found = {}
    for layer, weight in component.lora_inputs.items():
        down = matrices.get(f"{component.folder}/{layer}{DOWN}")
        up = matrices.get(f"{component.folder}/{layer}{UP}")
        if down is None or up is None:
            continue
        rank = down.shape[0 if len(weight) > 2 else -1] if down.ndim else 0
        if 0 < rank <= _LARGEST_RANK and (down.shape, up.shape) == shapes_of(weight, rank):
            found.update({f"{layer}{DOWN}": down, f"{layer}{UP}": up})
    return found


def _read(file: BinaryIO) -> Iterator[tuple[str, Array]]:
    """Yield the tensors of a safetensors file. Raises ValueError for a header that lies."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    first = _LENGTH_BYTES + length
    if length > _LARGEST_HEADER_BYTES or first > size:
        raise ValueError(f"a header of {length:,} bytes is not in {size:,}")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no object")
    read_bytes = first
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, begin = _entry(entry)
        count = math.prod(shape)
        read_bytes += 4 * count
        if first + begin + 4 * count > size or read_bytes > size:
            raise ValueError(f"{shortened(name)} lies behind its end, or upon another")
        file.seek(first + begin)
        values: Array = np.fromfile(file, "<f4", count)
        if not np.isfinite(values).all():
            raise ValueError(f"{shortened(name)} holds what is not finite")
        yield name, values.astype(np.float32, copy=False).reshape(shape)


def _entry(entry: Any) -> tuple[tuple[int, ...], int]:
    """Return the shape of a tensor and where it begins."""
    if not isinstance(entry, dict) or entry.get("dtype") != "F32":
        raise ValueError("a tensor is not in float32")
    shape, offsets = _numbers(entry.get("shape")), _numbers(entry.get("data_offsets"))
    if len(offsets) != 2 or offsets[1] - offsets[0] != 4 * math.prod(shape):
        raise ValueError(f"{offsets} is no place of {shape} in float32")
    return shape, offsets[0]


def _numbers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MOST_AXES:
        raise ValueError("a tensor has no shape or no place")
    if not all(type(it) is int and 0 <= it < 1 << 62 for it in value):
        raise ValueError("a tensor has no shape or no place")
    return tuple(value)
