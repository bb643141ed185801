"""The measurements of a device that latency is scaled from, and the table that shows it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from edgegen.cli.outlook_table import _latency, _latency_note
from edgegen.core.measurement import Measurement
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.models.source import resolve
from edgegen.packaging.candidate import make_candidate
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.predict import times
from edgegen.predict.survey import Outlook
from edgegen.predict.times import known_of, latency_of
from edgegen.predict.work import Work
from tests.statistics.samples import measurement

PI = load_profile("raspberry-pi-5")
WORK = Work(operations={"text_encoder": 10, "denoise": 8000, "vae_decoder": 500}, calls=8)


@cache
def facts() -> ModelFacts:
    return read_facts(resolve("builtin:scenes"))


@pytest.fixture(autouse=True)
def _one_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "read_traces", lambda *arguments, **options: {})
    monkeypatch.setattr(times, "work_of", lambda *arguments, **options: WORK)


def measured(
    model: str = "builtin:scenes", recipe: str = "fp32", **workload: object
) -> Measurement:
    """A measurement on a Raspberry Pi 5 as its profile says."""
    made = measurement()
    size = {"width": 64, "height": 64, "threads": 4}
    return replace(
        made,
        package=replace(made.package, model=model, revision=None, target="onnx", recipe=recipe),
        workload=replace(made.workload, **{**size, **workload}),  # type: ignore[arg-type]
    )


def outlook(recipe: str, *measurements: Measurement) -> Outlook:
    target = load_target("onnx")
    candidate = make_candidate(facts(), target, load_recipe(recipe, target), profile=PI)
    found = latency_of(candidate, facts(), {}, known_of(measurements, facts(), PI))
    return Outlook(target="onnx", recipe=recipe, latency=found)


def test_only_what_was_drawn_as_the_profile_says_counts() -> None:
    others = (
        measured(threads=1),
        measured(providers=("XnnpackExecutionProvider",)),
        measured(residency="sequential"),
        measured(memory="lean"),
        measured(recipe="one-of-the-user-s"),
        measured("somebody/else-s"),
    )
    assert known_of(others, facts(), PI) == ()
    assert len(known_of([*others, measured()], facts(), PI)) == 1


def test_the_models_that_ship_count_and_a_folder_that_may_have_changed_does_not() -> None:
    folder = replace(facts(), spec=replace(facts().spec, source="/a/folder"))
    known = known_of([measured(), measured("/a/folder")], folder, PI)
    assert [it.measurement.package.model for it in known] == ["builtin:scenes"]


def test_a_row_has_an_interval_and_says_what_it_was_scaled_from() -> None:
    same, other = outlook("fp32", measured()), outlook("fp16", measured())
    assert same.latency is not None
    assert other.latency is not None
    assert (same.latency.from_, other.latency.from_) == ("same package", "same device")
    assert " to " in (_latency(same.latency) or "")
    assert "1 measurement of the same package" in _latency_note([same])


def test_without_a_measurement_there_is_a_dash_and_the_note_says_why() -> None:
    nothing = outlook("fp32")
    assert nothing.latency is None
    assert _latency(nothing.latency) is None
    assert "nothing was measured" in _latency_note([nothing])
