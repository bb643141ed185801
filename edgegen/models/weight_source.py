"""What gives a component's weights: their names and shapes at once, their values one at a time.

A folder of safetensors is one (`models/weights.py`); whoever takes weights knows no more of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray


class WeightEntry(Protocol):
    """A tensor as a header describes it."""

    @property
    def dtype(self) -> str:
        """Return the type that it is stored in."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return how large it is where it is stored."""
        ...


class WeightSource(Protocol):
    """The weights of a component."""

    @property
    def name(self) -> str:
        """Return what it is called in an error."""
        ...

    @property
    def entries(self) -> Mapping[str, WeightEntry]:
        """Return all tensors, by key."""
        ...

    @property
    def takes_all_keys(self) -> bool:
        """Return whether each key has to be a parameter's; else those that match none are left."""
        ...

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        """Read a tensor, converted to `dtype` where given; `again` says that it is read again soon.

        Raises SourceError.
        """
        ...


class StoredWeights(WeightSource, Protocol):
    """Weights that lie in files of a model."""

    @property
    def variant(self) -> str | None:
        """Return the variant that was taken (`fp16`); None for files without one."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files that they are read from."""
        ...

    @property
    def size_bytes(self) -> int:
        """Return the size of all tensors as they are stored."""
        ...

    def sha256(self) -> str:
        """Return a hash over all that the values depend on. Raises SourceError."""
        ...


class PipelineSource(Protocol):
    """An opened source. `configs` is a folder with all of a diffusers folder but its weights."""

    @property
    def configs(self) -> Path:
        """Return where `model_index.json`, configurations and tokenizers lie."""
        ...

    def weights(self, folder: str, variant: str | None = None) -> StoredWeights:
        """Return the weights of a component's folder. Raises SourceError."""
        ...
