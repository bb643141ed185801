"""A new type of storage is a codec, a name that a target lists, and a line in its exporter."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.compress.codec import Encoded, Granularity, scaled
from edgegen.compress.codecs import CODECS
from edgegen.compress.int8 import scales_of
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from tests.exporters import test_coreml_export as coreml
from tests.exporters import test_openvino_export as openvino
from tests.exporters import test_tflite_export as tflite
from tests.exporters.harness import TinyPipeline

RECIPE = """
name = "mine"
description = ""
storage = "int6"
compute = "COMPUTE"
tolerance = { component_psnr_db = 0, trajectory_psnr_db = 0, image_psnr_db = 0 }
"""
NAME = "vae_decoder"


class Int6:
    """Integers of 6 bits, in bytes."""

    bits = 8
    reads = None

    def __init__(self) -> None:
        self.weights = 0

    def encode(self, weight: NDArray[Any], granularity: Granularity) -> Encoded:
        self.weights += 1
        scales = scales_of(weight, granularity) * np.float32(127 / 31)
        values = np.clip(np.rint(weight / scales), -31, 31).astype(np.int8)
        return Encoded(values=values, scales=scales)

    def decode(self, encoded: Encoded) -> NDArray[np.float32]:
        return scaled(encoded)

    def stored_bytes(
        self, shape: tuple[int, ...], granularity: Granularity, *, scale_bytes: int
    ) -> int:
        return int(np.prod(shape)) + scale_bytes * shape[0]


def in_coreml(folder: Path, place: Path, recipe: Recipe) -> float:
    component, _, packages = coreml.export(folder, NAME, place, recipe)
    return coreml.compare(folder, component, packages)


def in_openvino(folder: Path, place: Path, recipe: Recipe) -> float:
    _, component, _, _ = openvino.export(folder, NAME, place, recipe)
    return openvino.compare(folder, component, place, {"batch": 2, "height": 64, "width": 64})


def in_tflite(folder: Path, place: Path, recipe: Recipe) -> float:
    component, _ = tflite.export(folder, NAME, place, recipe)
    return tflite.compare(folder, component, place)


@pytest.mark.parametrize(
    ("target", "compute", "psnr_db_in"),
    [
        ("coreml", "float16", in_coreml),
        ("openvino", "float32", in_openvino),
        ("tflite", "float32", in_tflite),
    ],
)
def test_a_codec_that_no_exporter_knows_is_written_by_its_line_in_the_table(
    target: str,
    compute: str,
    psnr_db_in: Callable[[Path, Path, Recipe], float],
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = importlib.import_module(f"edgegen.exporters.{target}.storage").STORED
    codec = Int6()
    monkeypatch.setitem(CODECS, "int6", codec)
    monkeypatch.setitem(stored, "int6", stored["int8"])
    facts = load_target(target)
    facts = replace(facts, storage=(*facts.storage, "int6"))
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace("COMPUTE", compute))
    recipe = load_recipe(str(path), facts)
    assert psnr_db_in(tiny_pipeline("sd15"), tmp_path / "out", recipe) > 25
    assert codec.weights > 5
