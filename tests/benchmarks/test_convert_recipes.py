"""Recipes beside their peers: whole models on both sides, and a row for each recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import convert_recipes
from benchmarks.compress_denoiser import files_of
from benchmarks.convert_recipes_report import Ours, RecipeRow
from edgegen.core.codec import load_json

RESULT = convert_recipes.RESULTS / "convert-recipes-sd15.json"


def test_a_peer_is_given_every_file_of_a_split_denoiser(tmp_path: Path) -> None:
    names = ("model.tflite", "model.2.tflite", "model.3.tflite")
    for name in (*names, "model.2.npz", "other.tflite"):
        (tmp_path / name).touch()
    assert [it.name for it in files_of(tmp_path / "model.tflite")] == [*names]


def test_a_recipe_measured_again_has_one_row_and_keeps_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convert_recipes, "versions", lambda *_: {})
    monkeypatch.setattr(convert_recipes, "_python", lambda _: None)
    report = load_json(convert_recipes.Report, RESULT)
    table = next(it for it in report.targets if it.target == "onnx")
    new = replace(table.rows[0], theirs=None)
    found = convert_recipes._with(report, "onnx", new)
    assert next(it for it in found.targets if it.target == "onnx").rows == (new, *table.rows[1:])
    assert convert_recipes._known(found, ("onnx", new.recipe)) == new.ours
    assert isinstance(new.ours, Ours)
    more = convert_recipes._with(report, "onnx", RecipeRow(recipe="palette4"))
    rows = next(it for it in more.targets if it.target == "onnx").rows
    assert [it.recipe for it in rows] == [*(it.recipe for it in table.rows), "palette4"]
