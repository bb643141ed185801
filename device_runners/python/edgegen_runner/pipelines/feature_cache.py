"""Features that the denoiser's whole calls leave to the shallow ones after them.

Source: DeepCache (arXiv 2312.00858), branch 0, uniform intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from ..errors import RunnerFailure
from ..generation import computes_all
from ..package import Component, Package
from ..request import Request

Array = npt.NDArray[Any]

FEATURES = "features"
SHALLOW = "shallow_denoiser"


def cache_interval_of(request: Request, package: Package) -> int:
    """Return of how many calls one computes all layers: as the request says, or the package.

    Raises RunnerFailure (bad-request) where the package has no graph for the calls between.
    """
    asked = request.cache_interval
    interval = package.generation.cache_interval if asked is None else asked
    if interval > 1 and not package.all_of(SHALLOW):
        raise RunnerFailure(
            "bad-request",
            "This package keeps no features between steps: its denoiser is one graph.",
            "Package the model again with --cache-interval, or leave it out here.",
        )
    return interval


class FeatureCache:
    """The features of the last whole call of one image, one row a prediction.

    With guidance there are two rows or three, the one with the prompt last.
    """

    def __init__(self, package: Package, interval: int) -> None:
        self._interval = interval
        self._rows: Optional[Array] = None
        self.shallow: Optional[Component] = package.by_role(SHALLOW) if interval > 1 else None

    def computes_all(self, index: int, guided: range) -> bool:
        """Return whether a call of the denoiser computes all layers; `guided` are those guided."""
        return self.shallow is None or computes_all(index, self._interval, guided)

    def keep(self, features: Array, rows: int) -> None:
        """Keep the first rows of what a whole call gave: those behind them fill a fixed batch."""
        self._rows = features[:rows]

    def chunks(self, rows: int, batch: int) -> Iterator[Array]:
        """Yield the features of so many rows in batches; the last row fills up the last batch."""
        assert self._rows is not None  # an image's first call computes all layers
        kept = self._rows[-rows:]
        for start in range(0, rows, batch):
            chunk = kept[start : start + batch]
            missing = batch - len(chunk)
            yield np.concatenate([chunk, *[chunk[-1:]] * missing]) if missing else chunk
