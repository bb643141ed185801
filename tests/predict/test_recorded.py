"""Predictions against what `benchmarks/predictions.py` measured of real packages."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.predict.figures import MEMORY_ERROR, SIZE_ERROR
from edgegen.predict.memory import predict_memory
from edgegen.predict.survey import backend_of
from edgegen.predict.traces import read_traces

ROOT = Path(__file__).resolve().parents[2]
ROWS: list[dict[str, Any]] = [
    row
    for row in json.loads((ROOT / "benchmarks/results/predictions.json").read_text())["rows"]
    if row["model"].startswith("builtin:")
]


@cache
def facts_of(model: str) -> ModelFacts:
    return read_facts(resolve(model))


def test_packages_of_every_recipe_are_recorded() -> None:
    recorded = {(row["target"], row["recipe"]) for row in ROWS}
    for name, target in load_targets().items():
        for recipe in target.recipes:
            assert (name, recipe) in recorded


def test_each_package_is_as_large_as_predicted_within_a_hundredth() -> None:
    for row in ROWS:
        target = load_targets()[row["target"]]
        facts = facts_of(row["model"])
        found = predict(make_candidate(facts, target, load_recipe(row["recipe"], target)), facts)
        size = found.package_bytes - found.golden_bytes
        assert size == pytest.approx(row["package_bytes"], rel=SIZE_ERROR), row


@pytest.mark.slow
def test_each_run_takes_as_much_memory_as_predicted_within_the_stated_error() -> None:
    for row in ROWS:
        target = load_targets()[row["target"]]
        facts = facts_of(row["model"])
        candidate = make_candidate(facts, target, load_recipe(row["recipe"], target))
        for residency, peak_bytes in row["peak_bytes"].items():
            found = predict_memory(
                candidate,
                facts,
                read_traces(candidate, facts),
                backend=backend_of(candidate),
                residency=residency,
            )
            assert found.peak_bytes == pytest.approx(peak_bytes, rel=MEMORY_ERROR), row


@pytest.mark.slow
def test_what_draws_takes_more_than_one_component_and_less_than_all() -> None:
    facts, target = facts_of("builtin:scenes"), load_targets()["onnx"]
    candidate = make_candidate(facts, target, load_recipe("fp32", target))
    traces = read_traces(candidate, facts)
    alone, drawing, together = (
        predict_memory(
            candidate, facts, traces, backend=backend_of(candidate), residency=residency
        ).peak_bytes
        for residency in ("sequential", "drawing", "all")
    )
    assert alone < drawing < together
