"""What predictions are held against: the tensors of a graph, and the widths that times need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.graph_buffers import largest_buffer
from benchmarks.prediction_times import Timed, pairs, together
from edgegen.predict.work import Work
from tests.statistics.samples import measurement

WORK = Work(operations={"text_encoder": 10, "denoise": 8000, "vae_decoder": 500}, calls=8)


@pytest.fixture
def widened(tmp_path: Path) -> Path:
    """Return a graph that multiplies (batch, 64) by a matrix that it widens."""
    weight = onnx.numpy_helper.from_array(np.ones((64, 32), np.float16), "weight")
    numbers = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", ["weight"], ["wide"], to=numbers),
            onnx.helper.make_node("MatMul", ["x", "wide"], ["product"]),
            onnx.helper.make_node("Relu", ["product"], ["y"]),
        ],
        "widened",
        [onnx.helper.make_tensor_value_info("x", numbers, ["batch", 64])],
        [onnx.helper.make_tensor_value_info("y", numbers, ["batch", 32])],
        [weight],
    )
    opset = onnx.helper.make_opsetid("", 20)
    path = tmp_path / "model.onnx"
    onnx.save_model(
        onnx.helper.make_model(graph, opset_imports=[opset]),
        path,
        save_as_external_data=True,
        location="model.onnx_data",
        size_threshold=0,
    )
    return path


def test_the_largest_tensor_of_a_small_batch_is_the_weight_that_is_widened(widened: Path) -> None:
    found = largest_buffer("onnx", [widened], {"x": (1, 64)})
    assert (found.size_bytes, found.name, found.stored) == (4 * 64 * 32, "wide", False)


def test_the_largest_tensor_of_a_large_batch_is_what_is_computed(widened: Path) -> None:
    found = largest_buffer("onnx", [widened], {"x": (1000, 64)})
    assert (found.size_bytes, found.name) == (4 * 1000 * 32, "product")


def _timed(round_: int, steps: int, recipe: str = "fp16", slower: float = 1.0) -> Timed:
    found = measurement(steps=steps)
    work = Work(
        operations={**WORK.operations, "denoise": round(1000 * steps / slower)}, calls=steps
    )
    package = replace(found.package, recipe=recipe)
    return Timed(
        model="a model",
        round=round_,
        load_average=0.0,
        measurement=replace(found, package=package),
        work=work,
    )


def test_each_measurement_is_predicted_from_each_other_one() -> None:
    cases = list(pairs([_timed(0, 4), _timed(1, 4), _timed(0, 8), _timed(0, 8, "fp32")]))
    found = [case.origin for case in cases]
    assert len(cases) == 12
    assert {it: found.count(it) for it in found} == {
        "again": 2,
        "same package": 4,
        "same device": 6,
    }
    assert all(case.inside for case in cases)


def test_a_median_outside_of_its_interval_says_which_width_it_needs() -> None:
    as_predicted, twice_as_slow = _timed(0, 8), _timed(0, 4, slower=2.0)
    cases = [it for it in together([as_predicted, twice_as_slow]) if it.origin == "same package"]
    assert [it.inside for it in cases] == [False, False]
    assert all(1.3 < it.width < 2.1 for it in cases), cases
