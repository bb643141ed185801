"""Predictions as the figures that a package is chosen by."""

from __future__ import annotations

from edgegen.core.figures import UNKNOWN, Figure, predicted_around
from edgegen.packaging.candidate import Prediction
from edgegen.predict.latency import LatencyPrediction
from edgegen.predict.memory import MemoryPrediction

SIZE_ERROR = 0.01
MEMORY_ERROR = 0.15
"""How far predictions are from what is measured, at most, as a share of it: what
`benchmarks/predictions.py` prints is within these for every package that it tries."""

UNMEASURED_MEMORY_ERROR = 0.5
"""The same where nobody measured the runtime or the provider: an assumption."""


def size_figure(prediction: Prediction) -> Figure:
    """Return the size of a package, which is right within one hundredth."""
    return _within(prediction.package_bytes, SIZE_ERROR, "weights as the format stores them")


def memory_figure(prediction: MemoryPrediction) -> Figure:
    """Return the highest memory; far bounds where no measurement stands behind the runtime."""
    return _of_memory(prediction.peak_bytes, prediction)


def buffer_figure(prediction: MemoryPrediction) -> Figure:
    """Return the largest single buffer, within the bounds of memory: no run shows it apart."""
    return _of_memory(prediction.largest_buffer_bytes, prediction)


def _of_memory(value: float, prediction: MemoryPrediction) -> Figure:
    if prediction.unmeasured:
        source = "weights and activations; never measured with this runtime and provider"
        return _within(value, UNMEASURED_MEMORY_ERROR, source)
    return _within(value, MEMORY_ERROR, "weights, activations and the runtime's own")


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
    return predicted_around(value, value, value, error, source)
