"""The limit on what a runtime may allocate for a package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.memory_guard import NO_LIMIT, allowed_bytes
from edgegen_runner.package import load_package

from edgegen.core.errors import ResourceError, RunnerError
from edgegen.runner.job import ProbeJob
from edgegen.runner.session import RunnerSession
from tests.device_runners.tiny_tflite import write_manifest
from tests.tiny_packages import onnx_package

GREEDY_ROWS = 1 << 20
"""The graph pads 8 × 64 numbers by so many rows: 2 GiB."""


def greedy_package(folder: Path) -> Path:
    """Write a package whose graph makes far more numbers than it returns."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (folder / "unet").mkdir(parents=True)
    pads = numpy_helper.from_array(np.array([0, 0, GREEDY_ROWS, 0], np.int64), "pads")
    axes = numpy_helper.from_array(np.array([0], np.int64), "axes")
    graph = helper.make_graph(
        [
            helper.make_node("Pad", ["sample", "pads"], ["padded"]),
            helper.make_node("ReduceMax", ["padded", "axes"], ["out_sample"], keepdims=1),
        ],
        "unet",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, [8, 512])],
        [helper.make_tensor_value_info("out_sample", TensorProto.FLOAT, [1, 512])],
        [pads, axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save_model(model, str(folder / "unet/model.onnx"))
    sample = {"sample": np.ones((8, 512), np.float32)}
    write_manifest(folder, "onnx", "unet/model.onnx", sample, {"out_sample": (1, 512)})
    return folder


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone has such a limit")
def test_a_graph_that_takes_far_more_than_its_package_can_need_is_refused(tmp_path: Path) -> None:
    package = greedy_package(tmp_path / "package")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "sample.npy", np.ones((8, 512), np.float32))
    job = ProbeJob(
        package=str(package),
        component="unet",
        inputs=str(tmp_path / "in"),
        outputs=str(tmp_path / "out"),
    )
    with pytest.raises((ResourceError, RunnerError), match=r"memory|alloc"):
        list(RunnerSession().events(job))


def test_the_limit_grows_with_the_picture_and_spares_the_sizes_of_real_models(
    tmp_path: Path,
) -> None:
    package = load_package(onnx_package(tmp_path / "package"))
    small, large = allowed_bytes(package, 32, 32), allowed_bytes(package, 512, 512)
    assert 1.5e9 < small < large
    assert large > 3e9  # attention of Stable Diffusion at its own size, had its weights no bytes
    assert NO_LIMIT.startswith("EDGEGEN_")
