"""The figures of a measurement: each with its interval, its source, or unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.choose.measured import elsewhere, figures_of, glimpse_of, slowdown_of, step_of
from edgegen.core.figures import Limit
from tests.statistics.samples import measurement, sustained


def test_a_whole_measurement_tells_latency_and_memory() -> None:
    figures = figures_of(measurement())
    latency = figures["latency"]
    assert latency.origin == "measured"
    assert latency.low is not None
    assert latency.value is not None
    assert latency.high is not None
    assert latency.low <= latency.value <= latency.high
    assert "2026-01-02" in latency.source
    assert figures["memory"].value is not None


def test_an_emulated_processor_tells_no_latency() -> None:
    made = measurement()
    emulated = replace(made, environment=replace(made.environment, emulated=True))
    assert set(figures_of(emulated)) == {"memory"}
    assert glimpse_of(emulated) == {}


def test_a_look_bounds_the_latency_and_does_not_tell_it() -> None:
    made = measurement(restarts=1, images=3)
    figure = glimpse_of(made)["latency"]
    assert figure.origin == "predicted"
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < min(v.latency_s for v in made.of_kind("steady")[0].images[1:])
    assert not figure.could_pass(Limit(figure="latency", value=figure.low / 2))
    assert "latency" not in figures_of(made), "three images have no interval"


def test_a_step_has_its_time() -> None:
    assert (step_of(measurement()).value or 0) > 0
    assert step_of(replace(measurement(), runs=())).value is None


def test_a_step_of_heun_is_two_calls_but_for_the_last() -> None:
    known = measurement()
    workload = replace(known.workload, scheduler="heun")
    call_s, step_s = step_of(known).value, step_of(replace(known, workload=workload)).value
    assert call_s is not None
    assert step_s == pytest.approx(call_s * (2 - 1 / workload.steps))


def test_a_sustained_run_tells_the_slowdown_where_it_is_long_enough() -> None:
    slowdown = slowdown_of(sustained())
    assert slowdown.value is not None
    assert slowdown.value >= 1
    assert slowdown_of(measurement()).value is None


def test_what_was_measured_elsewhere_says_so() -> None:
    found = elsewhere(figures_of(measurement()))
    assert {figure.origin for figure in found.values()} == {"measured elsewhere"}
