"""Predictions as the figures that a package is chosen by."""

from __future__ import annotations

from edgegen.core.figures import UNKNOWN, Figure
from edgegen.packaging.candidate import Prediction
from edgegen.predict.latency import LatencyPrediction
from edgegen.predict.memory import MemoryPrediction

SIZE_ERROR = 0.01
MEMORY_ERROR = 0.15
"""How far predictions are from what is measured, at most, as a share of it: what
`benchmarks/predictions.py` prints is within these for every package that it tries."""


def size_figure(prediction: Prediction) -> Figure:
    """Return the size of a package, which is right within one hundredth."""
    return _within(prediction.package_bytes, SIZE_ERROR, "weights as the format stores them")


def memory_figure(prediction: MemoryPrediction) -> Figure:
    """Return the highest memory; without bounds where no measurement stands behind the runtime."""
    if prediction.unmeasured:
        return Figure(
            value=prediction.peak_bytes,
            low=0.0,
            high=float("inf"),
            origin="predicted",
            source="weights and activations; this runtime was never measured",
        )
    return _within(
        prediction.peak_bytes, MEMORY_ERROR, "weights, activations and the runtime's own"
    )


def latency_figure(prediction: LatencyPrediction | None) -> Figure:
    """Return the latency of an image; unknown where nothing was measured."""
    if prediction is None:
        return UNKNOWN
    return Figure(
        value=prediction.median_s,
        low=prediction.low_s,
        high=prediction.high_s,
        origin="predicted",
        source=f"scaled from {prediction.measurements} of the {prediction.from_}",
    )


def _within(value: float, error: float, source: str) -> Figure:
    return Figure(
        value=value,
        low=value / (1 + error),
        high=value / (1 - error),
        origin="predicted",
        source=source,
    )
