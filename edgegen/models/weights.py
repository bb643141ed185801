"""A component's weights: where each tensor lies, and its values, read one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.files import sha256_of
from edgegen.models.float8 import FLOAT8, float8_values
from edgegen.models.safetensors import SafetensorsFile, TensorEntry, read_tensor
from edgegen.models.weight_files import StoredVariants, WeightFiles, is_shard
from edgegen.models.wrapped_keys import unwrapped

Array = NDArray[Any]

_SCALES = ("scale_weight", "weight_scale", "weight_scale_inv")
_CHUNK_ELEMENTS = 256 << 10  # what a processor's cache holds: ten times as fast as all at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The weights of a component in a folder: a `WeightSource`.

    `variant` is None for files without one.
    """

    folder: Path
    variant: str | None
    files: tuple[Path, ...]
    entries: Mapping[str, TensorEntry]
    takes_all_keys: bool = False

    @classmethod
    def open(cls, component_folder: Path, variant: str | None = None) -> Weights:
        """Read the headers of a component's weights.

        Which files are taken is told in `weight_files`. Raises SourceError where there are no
        weights, only pickles, or files that contradict themselves or their index.
        """
        return _open(component_folder, stored_variants(component_folder).choose(variant))

    @property
    def name(self) -> str:
        """Return what it is called in an error."""
        return str(self.folder)

    @property
    def size_bytes(self) -> int:
        """Return the size of all tensors."""
        return sum(entry.size_bytes for entry in self.entries.values())

    def array(self, key: str, dtype: DTypeLike | None = None, *, again: bool = False) -> Array:
        """Read a tensor as a numpy array of its shape; types that numpy lacks become float32.

        With `dtype` it is converted; a value too large for it becomes infinite, which
        `check_finite` finds. What is read `again` stays in the page cache. Raises SourceError.
        """
        entry = self.entries[key]
        return to_numpy(entry, read_tensor(entry, again=again), dtype)

    def sha256(self) -> str:
        """Return a hash over the names and the SHA-256 of all weight files."""
        lines = (f"{sha256_of(file)}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def stored_variants(component_folder: Path) -> StoredVariants:
    """List the variants of the weights in a folder. Raises SourceError where it is missing."""
    if not component_folder.is_dir():
        raise SourceError(
            f"{component_folder} does not exist.",
            hint="Check the path, or download the model again.",
        )
    names = (path.name for path in component_folder.iterdir() if path.is_file())
    return StoredVariants.of(str(component_folder), names)


def to_numpy(entry: TensorEntry, data: bytearray, dtype: DTypeLike | None = None) -> Array:
    """Turn a tensor's bytes into an array of its shape, converted to `dtype` where given.

    bfloat16, which numpy lacks, becomes float32 by sixteen zero bits on the right: exact. So do
    the two types of 8 bits, by a table. The array shares `data` where nothing had to be converted.
    """
    if entry.dtype == "bfloat16":
        array: Array = np.frombuffer(data, "<u2").astype("<u4")
        np.left_shift(array, 16, out=array)
        array = array.view("<f4")
    elif entry.dtype in FLOAT8:
        array = float8_values(entry.dtype)[np.frombuffer(data, np.uint8)]
    else:
        array = np.frombuffer(data, np.dtype(entry.dtype).newbyteorder("<"))
    if dtype is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # `check_finite` says it better
            array = array.astype(dtype, copy=False)
    return array.reshape(entry.shape)


def check_finite(name: str, array: Array) -> None:
    """Refuse an array that holds NaN or an infinity. Raises SourceError that names the tensor."""
    if not np.issubdtype(array.dtype, np.inexact):
        return
    for chunk in _chunks(array):
        if _is_finite(chunk):
            continue
        value = float(chunk[~np.isfinite(chunk)][0].real)
        count = sum(int((~np.isfinite(part)).sum()) for part in _chunks(array))
        raise SourceError(
            f"The tensor '{name}' holds {count:,} value{'s' * (count > 1)} not finite ({value}) "
            f"among {array.size:,}.",
            hint="The weights are damaged, or were saved in a type too small for them: take "
            "another file of this model, or its fp32 weights.",
        )


def _is_finite(chunk: Array) -> bool:
    if chunk.dtype == np.float16:  # numpy converts each half to a float; its bits say it sooner
        return bool((chunk.view(np.uint16) & 0x7FFF).max() < 0x7C00)
    return bool(np.isfinite(chunk).all())


def _chunks(array: Array) -> Iterator[Array]:
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        yield flat[start : start + _CHUNK_ELEMENTS]


def _open(folder: Path, chosen: WeightFiles) -> Weights:
    files, entries = _one(folder, chosen) if chosen.index is None else _shards(folder, chosen.index)
    entries = unwrapped(entries, folder)
    _refuse_scales(folder, entries)
    return Weights(folder=folder, variant=chosen.variant, files=files, entries=entries)


def _refuse_scales(folder: Path, entries: Mapping[str, TensorEntry]) -> None:
    """Refuse float8 weights that have to be multiplied by others first."""
    if any(entry.dtype in FLOAT8 for entry in entries.values()):
        scales = [key for key in entries if key.rpartition(".")[2] in _SCALES]
        if scales:
            raise SourceError(
                f"The weights in {folder} are float8 with scales ('{scales[0]}'), which edgegen "
                "does not apply.",
                hint="Take the fp16, bf16 or fp32 weights of this model.",
            )


def _one(folder: Path, chosen: WeightFiles) -> tuple[tuple[Path, ...], Mapping[str, TensorEntry]]:
    (name,) = chosen.files
    file = SafetensorsFile.open(folder / name)
    return (file.path,), file.entries


def _shards(folder: Path, index: str) -> tuple[tuple[Path, ...], Mapping[str, TensorEntry]]:
    weight_map = _weight_map(folder / index)
    files = {name: SafetensorsFile.open(folder / name) for name in sorted({*weight_map.values()})}
    again = f"Download the index and the shards of {folder} again."
    for key, name in weight_map.items():
        if key not in files[name].entries:
            raise SourceError(
                f"{folder / index} says that {key!r} is in {name}, which does not hold it.",
                hint=again,
            )
    for name, file in files.items():
        for key in file.entries:
            if weight_map.get(key) != name:
                raise SourceError(
                    f"{folder / name} holds {key!r}, which {index} does not place there.",
                    hint=again,
                )
    entries = {key: files[name].entries[key] for key, name in weight_map.items()}
    return tuple(folder / name for name in files), entries


def _weight_map(index: Path) -> dict[str, str]:
    data = ComponentConfig.read(index).data
    weight_map = data.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise SourceError(f"{index} has no 'weight_map'.", hint="Download the index again.")
    for key, name in weight_map.items():
        # A plain name is asked for, rather than a resolved path: in a hub's cache every file is a
        # symbolic link that leads out of its folder.
        if not isinstance(name, str) or not is_shard(name):
            raise SourceError(
                f"{index} places {key!r} in {name!r}, which is not a shard beside it.",
                hint="Do not use this model: its index was made or changed by something else.",
            )
    return weight_map
