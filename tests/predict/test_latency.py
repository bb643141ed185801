"""Latencies that are scaled from what was measured."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from edgegen.core.measurement import Measurement
from edgegen.predict.figures import latency_figure
from edgegen.predict.latency import Known, Wanted, predict_latency
from edgegen.predict.work import Work
from tests.statistics.samples import measurement

WORK = Work(operations={"text_encoder": 10, "denoise": 8000, "vae_decoder": 500}, calls=8)
MEASURED = measurement()
KNOWN = Known(measurement=MEASURED, work=WORK)


def wanted(work: Work = WORK, **changes: str) -> Wanted:
    package = replace(MEASURED.package, **changes)  # type: ignore[arg-type]
    return Wanted(
        target=package.target,
        recipe=package.recipe,
        work=work,
        weights_sha256=package.weights_sha256,
    )


def median_of(measured: Measurement) -> float:
    return statistics.median(
        image.latency_s
        for run in measured.of_kind("steady")
        for image in run.images
        if not image.warmup
    )


def test_the_same_image_of_the_same_package_takes_as_long_as_it_took() -> None:
    found = predict_latency(wanted(), [KNOWN])
    assert found is not None
    assert found.from_ == "same package"
    assert found.median_s == pytest.approx(median_of(MEASURED), rel=0.02)
    assert found.low_s < found.median_s < found.high_s < 1.4 * found.median_s


def test_half_of_the_steps_take_half_of_their_part() -> None:
    half = Work(operations={**WORK.operations, "denoise": 4000}, calls=4)
    found = predict_latency(wanted(half), [KNOWN])
    assert found is not None
    assert found.low_s <= median_of(measurement(steps=4)) <= found.high_s


def test_the_less_is_in_common_the_wider_is_the_interval() -> None:
    other = Work(operations={name: 4 * it for name, it in WORK.operations.items()}, calls=8)
    cases = (
        wanted(),
        wanted(other),
        wanted(other, weights_sha256="0" * 64),
        wanted(other, recipe="fp32"),
    )
    widths = []
    for case in cases:
        found = predict_latency(case, [KNOWN])
        assert found is not None
        widths.append(found.high_s / found.low_s)
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_measurements_of_the_same_package_come_before_all_others() -> None:
    slow = replace(MEASURED, package=replace(MEASURED.package, recipe="fp32"))
    found = predict_latency(wanted(), [KNOWN, Known(measurement=slow, work=WORK)])
    assert found is not None
    assert (found.from_, found.measurements) == ("same package", 1)


def test_nothing_is_known_without_a_measurement_or_of_a_phase_that_none_has() -> None:
    assert predict_latency(wanted(), []) is None
    other = Work(operations={"vae_encoder": 5}, calls=8)
    assert predict_latency(wanted(other), [KNOWN]) is None
    assert latency_figure(None).value is None
