"""``.npy`` files: read with care, because a request or a package may come from anywhere.

Source: numpy, "NPY format" (numpy.lib.format), versions 1 to 3. The header is matched, never
evaluated, and believed only where it agrees with the file's size; nothing is unpickled.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import RunnerFailure
from .files import open_regular

Array = npt.NDArray[Any]

LARGEST_BYTES = 1 << 30
"""No array of a golden case or a request is larger."""

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_LONGEST_HEADER = 1 << 16
_MOST_AXES = 32
_HEADER = re.compile(
    r"\{'descr': '(?P<type>\|[biu]1|[<>](?:[iu][248]|f[248]))', "
    r"'fortran_order': (?P<order>True|False), "
    r"'shape': \((?P<shape>(?:\d{1,18}, ?)*(?:\d{1,18},?)?)\),? ?\}\s*",
    re.ASCII,
)


def load_array(path: Path, kind: str = "bad-request") -> Array:
    """Read a ``.npy`` file of numbers or truth values.

    Raises RunnerFailure of a kind where it is missing, broken, larger than 1 GiB, or something
    else.
    """
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        raise RunnerFailure(
            kind, f"{path} cannot be read: {error}.", "It must be a .npy file of numbers."
        ) from error


def _read(path: Path) -> Array:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_BYTES:
            raise ValueError(f"it has {size:,} bytes, more than {LARGEST_BYTES:,}")
        version = file.read(8)
        if len(version) < 8 or version[:6] != _MAGIC or version[6] not in _LENGTH_BYTES:
            raise ValueError("it does not start as a .npy file does")
        length = int.from_bytes(file.read(_LENGTH_BYTES[version[6]]), "little")
        if length > _LONGEST_HEADER:
            raise ValueError(f"its header of {length:,} bytes is too long")
        header = file.read(length)
        found = _HEADER.fullmatch(header.decode("latin-1"))
        if found is None:
            raise ValueError(f"its header is not that of an array of numbers: {header[:80]!r}")
        dtype = np.dtype(found["type"])
        shape = tuple(int(axis) for axis in found["shape"].replace(",", " ").split())
        if len(shape) > _MOST_AXES:
            raise ValueError(f"it has {len(shape)} axes, more than {_MOST_AXES}")
        size_bytes = math.prod(shape) * dtype.itemsize
        if file.tell() + size_bytes != size:
            raise ValueError(f"{size:,} bytes do not hold {shape} of {dtype}")
        values: Array = np.fromfile(file, dtype, math.prod(shape))
        native = values.astype(dtype.newbyteorder("="), copy=False)
        return native.reshape(shape, order="F" if found["order"] == "True" else "C")
