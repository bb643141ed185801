"""Predictions have bounds, and what nobody measured says so."""

from __future__ import annotations

import pytest
from edgegen_runner.runtimes import RUNTIMES as KNOWN

from edgegen.core.errors import ConfigError
from edgegen.core.figures import Figure
from edgegen.predict.figures import buffer_figure, memory_figure
from edgegen.predict.memory import MemoryPrediction
from edgegen.predict.runtime_memory import MEASURED_ON, RUNTIMES, runtime_memory
from edgegen.predict.survey import verdict_of


def prediction(*, unmeasured: bool) -> MemoryPrediction:
    return MemoryPrediction(
        components={},
        base_bytes=0,
        peak_bytes=100,
        largest_buffer_bytes=10,
        largest_buffer="",
        unmeasured=unmeasured,
    )


def test_every_runtime_of_the_runner_has_a_row_and_an_unknown_one_is_refused() -> None:
    assert set(RUNTIMES) == {it.name for it in KNOWN}
    with pytest.raises(ConfigError, match="nobody described it"):
        runtime_memory("a-new-runtime", "auto", 1)


def test_only_runtimes_that_were_measured_are_taken_for_measured() -> None:
    measured = {it for it in RUNTIMES if not runtime_memory(it, "auto", 1).unmeasured}
    assert measured == set(MEASURED_ON) == {"onnxruntime", "openvino", "ai_edge_litert"}


def test_a_runtime_is_unmeasured_where_something_else_than_the_processor_comes_first() -> None:
    for runtime in KNOWN:
        for provider in runtime.providers:
            row = runtime_memory(runtime.name, "auto", 1 << 40, (provider,))
            assert row.unmeasured == (MEASURED_ON.get(runtime.name) != provider), provider
    cuda = ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert runtime_memory("onnxruntime", "lean", 1, cuda).unmeasured
    assert not runtime_memory("onnxruntime", "lean", 1, cuda[1:]).unmeasured


def test_the_bounds_of_what_nobody_measured_are_wider() -> None:
    for figure in (memory_figure, buffer_figure):
        known, unknown = figure(prediction(unmeasured=False)), figure(prediction(unmeasured=True))
        assert known.value == unknown.value
        assert unknown.low < known.low < known.high < unknown.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("limit", "known", "unmeasured"),
    [(121, "yes", "unknown"), (100, "may", "unknown"), (90, "may", "unknown"), (89, "no", "no")],
)
def test_a_limit_is_met_by_the_bounds_of_a_prediction(
    limit: float, known: str, unmeasured: str
) -> None:
    figure = Figure(value=100, low=90, high=120, origin="predicted")
    assert verdict_of(figure, limit) == known
    assert verdict_of(figure, limit, unmeasured=True) == unmeasured
