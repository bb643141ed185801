"""The weights of a network in a checkpoint, by diffusers' names: a `WeightSource`.

Names are mapped on headers. A parameter that is a part of a tensor is a part of its bytes, which is
all that is read of it; one that is turned is turned when it was read.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgegen.checkpoints.base import Taken
from edgegen.checkpoints.form import (
    CONTROLNET,
    Checkpoint,
    Said,
    read_checkpoint,
    read_controlnet_file,
    read_vae_file,
)
from edgegen.core.errors import SourceError
from edgegen.core.files import sha256_of
from edgegen.models.gguf import GgufEntry, GgufFile, QuantizedEntry, dequantized, part_of
from edgegen.models.layouts import GGUF_SUFFIX, Noted, require_unchanged
from edgegen.models.safetensors import SafetensorsFile, TensorEntry, read_tensor
from edgegen.models.weights import to_numpy
from edgegen.models.wrapped_keys import unwrapped

_GLOBAL_STEP = "global_step"


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedEntry:
    """A parameter: where it is stored, and whether its axes are in the other order there."""

    shape: tuple[int, ...]
    stored: GgufEntry
    transposed: bool

    @property
    def dtype(self) -> str:
        """Return the type that it is stored in."""
        return self.stored.dtype

    @property
    def size_bytes(self) -> int:
        """Return how large it is where it is stored."""
        return self.stored.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointWeights:
    """The weights of one network in a file of several, or in one of its own."""

    file: Path
    part: str | None
    entries: Mapping[str, MappedEntry]
    variant: str | None = None
    takes_all_keys: bool = True

    @classmethod
    def open(cls, noted: Noted) -> CheckpointWeights:
        """Map the header of a noted file. Raises SourceError."""
        path = require_unchanged(noted)
        opened = open_checkpoint_file(path)
        if noted.part is None:
            parameters = read_vae_file(opened.shapes, where=str(path)).parameters
        elif noted.part == CONTROLNET:
            parameters = read_controlnet_file(opened.shapes, where=str(path)).parameters
        else:
            components = checkpoint_in(opened).components
            parameters = components[noted.part].parameters
        entries = {name: _entry(opened.entries, it) for name, it in parameters.items()}
        return cls(file=path, part=noted.part, entries=entries)

    @property
    def name(self) -> str:
        """Return what it is called in an error."""
        return str(self.file) if self.part is None else f"{self.file} ({self.part})"

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the file."""
        return (self.file,)

    @property
    def size_bytes(self) -> int:
        """Return the size of all tensors."""
        return sum(entry.size_bytes for entry in self.entries.values())

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        """Read a parameter as a numpy array of its shape; types that numpy lacks become float32.

        So do quantized ones. Raises SourceError, and MissingDependencyError where these need a
        package that isn't there.
        """
        entry = self.entries[key]
        data = read_tensor(entry.stored, again=again)
        if isinstance(entry.stored, QuantizedEntry):
            array = dequantized(entry.stored, data)
            array = array if dtype is None else array.astype(dtype, copy=False)
        else:
            array = to_numpy(entry.stored, data, dtype)
        if entry.transposed:
            array = np.ascontiguousarray(array.T)
        return array.reshape(entry.shape)

    def sha256(self) -> str:
        """Return a hash over the whole file's, and which of its networks this is."""
        status = self.file.stat()
        digest = _sha256(self.file, status.st_size, status.st_mtime_ns)
        return hashlib.sha256(f"{digest}  {self.part or ''}\n".encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """The header of a checkpoint, by the keys that its networks have without a wrapper."""

    path: Path
    entries: Mapping[str, GgufEntry]
    metadata: Mapping[str, str]

    @property
    def quantizations(self) -> dict[str, int]:
        """Return the types of GGUF that tensors are quantized to, and how many tensors."""
        kinds = (it.dtype for it in self.entries.values() if isinstance(it, QuantizedEntry))
        return dict(Counter(kinds).most_common())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each tensor."""
        return {key: entry.shape for key, entry in self.entries.items()}


def open_checkpoint_file(path: Path) -> CheckpointFile:
    """Read the header of a file; what is read once isn't read again while the file stays as it is.

    Raises SourceError where it is none that edgegen reads.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read: {error.strerror}.", hint="Check the path of the file."
        ) from error
    return _opened(path, status.st_size, status.st_mtime_ns)


def checkpoint_in(opened: CheckpointFile, prediction: str | None = None) -> Checkpoint:
    """Find out what a file is. Raises SourceError."""
    said = Said(
        prediction=prediction, metadata=opened.metadata, global_step=_global_step(opened.entries)
    )
    return read_checkpoint(opened.shapes, said, where=str(opened.path))


@lru_cache(maxsize=4)
def _opened(path: Path, _size_bytes: int, _mtime_ns: int) -> CheckpointFile:
    is_gguf = path.suffix.lower() == GGUF_SUFFIX
    file = GgufFile.open(path) if is_gguf else SafetensorsFile.open(path)
    entries: dict[str, GgufEntry] = unwrapped(file.entries, path)
    return CheckpointFile(path=path, entries=entries, metadata=file.metadata)


@lru_cache(maxsize=8)
def _sha256(path: Path, _size_bytes: int, _mtime_ns: int) -> str:
    return sha256_of(path)


def _global_step(entries: Mapping[str, GgufEntry]) -> int | None:
    entry = entries.get(_GLOBAL_STEP)
    if (
        not isinstance(entry, TensorEntry)
        or entry.elements != 1
        or entry.dtype not in ("int64", "int32")
    ):
        return None
    return int(to_numpy(entry, read_tensor(entry)).reshape(-1)[0])


def _entry(entries: Mapping[str, GgufEntry], taken: Taken) -> MappedEntry:
    stored = entries[taken.key]
    if taken.part is not None:
        stored = part_of(stored, taken.shape, *taken.part)
    assert math.prod(taken.shape) == math.prod(stored.shape)
    return MappedEntry(shape=taken.shape, stored=stored, transposed=taken.transposed)
