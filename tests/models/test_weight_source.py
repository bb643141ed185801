"""Weights need not lie in a folder: whatever has names, shapes and values is a source of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from edgegen.core.errors import SourceError
from edgegen.exporters.stored_weights import WeightForm, load_weight
from edgegen.models.binding import bind
from edgegen.models.weight_source import WeightSource
from edgegen.networks.base import KeyRules


@dataclass(frozen=True)
class Entry:
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class InMemory:
    """A source whose weights were computed."""

    name: str
    arrays: Mapping[str, NDArray[Any]]
    takes_all_keys: bool = False

    @property
    def entries(self) -> Mapping[str, Entry]:
        return {key: Entry(str(it.dtype), it.shape, it.nbytes) for key, it in self.arrays.items()}

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        return self.arrays[key].astype(dtype or self.arrays[key].dtype)


def source() -> WeightSource:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    return InMemory("what was computed", {"linear.weight": weight})


def test_an_artifact_takes_weights_from_any_source() -> None:
    weights = source()
    bound = bind(weights, {"linear.weight": (2, 3)}, KeyRules())
    form = WeightForm(parameter="linear.weight", axes=(1, 0), shape=(3, 2))

    stored = load_weight(form, np.dtype(np.float16), bound, weights)

    assert stored.dtype == np.float16
    assert stored.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_source_that_lacks_a_weight_is_named() -> None:
    with pytest.raises(SourceError, match="what was computed"):
        bind(source(), {"linear.bias": (2,)}, KeyRules())
