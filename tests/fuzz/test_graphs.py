"""Broken and hostile ONNX, OpenVINO and TFLite graphs, in the runtimes that run them.

A runtime that is taken down by one is counted: it ends the runner's process, which the host tells
as such, and the next case gets another.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.device_runners import test_backend_openvino, test_backend_tflite
from tests.device_runners.tiny_tflite import write_manifest
from tests.fuzz.harness import CASE_BYTES, CASE_SECONDS, counts, fuzzing

CHILD = Path(__file__).with_name("graph_child.py")
ROOT = Path(__file__).parents[2]


def onnx_graph(folder: Path) -> Path:
    """Write a package of one small convolutional network in ONNX."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (folder / "unet").mkdir(parents=True)
    weights = np.linspace(-1, 1, 8 * 4 * 9, dtype=np.float32).reshape(8, 4, 3, 3)
    shape = np.array([1, 8, -1], np.int64)
    nodes = [
        helper.make_node("Conv", ["sample", "weights"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["features", "shape"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["soft"], axis=-1),
        helper.make_node("Pad", ["soft", "pads"], ["padded"]),
        helper.make_node("Slice", ["padded", "starts", "ends"], ["out_sample"]),
    ]
    constants = {
        "weights": weights,
        "shape": shape,
        "pads": np.array([0, 0, 0, 0, 0, 2], np.int64),
        "starts": np.array([0, 0, 0], np.int64),
        "ends": np.array([1, 8, 64], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "unet",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("out_sample", TensorProto.FLOAT, [1, 8, 64])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(folder / "unet/model.onnx"))
    sample = {"sample": np.ones((1, 4, 8, 8), np.float32)}
    write_manifest(folder, "onnx", "unet/model.onnx", sample, {"out_sample": (1, 8, 64)})
    return folder


MAKERS: dict[str, Any] = {
    "onnxruntime": (onnx_graph, ("model.onnx",)),
    "openvino": (test_backend_openvino.package, ("openvino_model.xml", "openvino_model.bin")),
    "ai_edge_litert": (test_backend_tflite.whole, ("model.tflite",)),
}


class Runtime:
    """A child with one runtime, started again where it was taken down."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._child: subprocess.Popen[bytes] | None = None

    def end(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def run(self, package: Path) -> dict[str, Any]:
        """Return the child's answer to a package."""
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{package}\n".encode())
        child.stdin.flush()
        if not select.select([child.stdout], [], [], CASE_SECONDS)[0]:
            self.end()
            raise AssertionError(f"{self._name}: longer than {CASE_SECONDS} s")
        line = child.stdout.readline()
        if line:
            return dict(json.loads(line))
        code = child.wait()
        self.end()
        assert code < 0, f"{self._name}: its process ended with {code}"
        return {"ended": signal.Signals(-code).name, "message": "", "peak_bytes": 0}

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [sys.executable, str(CHILD), self._name]
        self._child = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=ROOT,
        )
        return self._child


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Runtime, Path]]]:
    made = {
        name: (Runtime(name), maker(tmp_path_factory.mktemp(name) / "package"))
        for name, (maker, _) in MAKERS.items()
    }
    yield made
    for runtime, _ in made.values():
        runtime.end()


@st.composite
def spoilings(draw: st.DrawFn) -> tuple[int, list[tuple[int, bytes]], int | None]:
    """Draw which file, what is overwritten where, and where it is cut off, if anywhere."""
    odd = st.sampled_from(
        (b"\xff\xff\xff\x7f", b"\0\0\0\0", b"\x00\x00\x10\x00", b"\xff\xff\xff\xff", b"\xfe", b"9")
    )
    pieces = odd | st.integers(0, 255).map(lambda byte: bytes([byte]))
    places = draw(st.lists(st.tuples(st.integers(0, 20_000), pieces), min_size=1, max_size=4))
    cut = draw(st.one_of(st.none(), st.none(), st.none(), st.integers(0, 20_000)))
    return draw(st.integers(0, 3)), places, cut


@pytest.mark.parametrize("name", MAKERS)
@fuzzing()
@given(spoiling=spoilings())
def test_a_broken_graph_ends_orderly(
    name: str,
    spoiling: tuple[int, list[tuple[int, bytes]], int | None],
    runtimes: dict[str, tuple[Runtime, Path]],
) -> None:
    runtime, package = runtimes[name]
    number, places, cut = spoiling
    names = MAKERS[name][1]
    (path,) = package.rglob(names[number % len(names)])
    whole = path.read_bytes()
    data = bytearray(whole)
    for place, piece in places:
        start = place % len(data)
        data[start : start + len(piece)] = piece
    path.unlink()  # a runtime may still have the last one mapped
    path.write_bytes(data[: cut % len(data)] if cut is not None else data)
    counts[f"graphs in {name}"] += 1
    started = time.monotonic()
    try:
        answer = runtime.run(package)
    finally:
        path.unlink()
        path.write_bytes(whole)
    took_s = time.monotonic() - started
    assert took_s < CASE_SECONDS
    if answer["ended"] in ("SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS", "SIGILL"):
        counts[f"graphs that took {name} down"] += 1
        return
    assert answer["ended"] in ("fine", "orderly"), answer
    assert answer["peak_bytes"] < CASE_BYTES, answer


@pytest.mark.parametrize("name", MAKERS)
def test_the_whole_graph_runs(name: str, runtimes: dict[str, tuple[Runtime, Path]]) -> None:
    runtime, package = runtimes[name]
    assert runtime.run(package)["ended"] == "fine"
