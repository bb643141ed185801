"""The type in which runtimes compute: what processors lack, what is refused, what is computed."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from edgegen_runner import arithmetic
from edgegen_runner.arithmetic import arithmetic_of, processor_gap
from edgegen_runner.backends import Backend, BackendOptions, open_backend
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.job import parse_job
from edgegen_runner.package import load_package
from edgegen_runner.residency import Components
from numpy.typing import NDArray

from tests.device_runners.tiny_tflite import Layer, write_manifest, write_tflite

SAPPHIRE_RAPIDS = frozenset(
    ["fpu", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "amx_tile"]
)
ZEN_3 = frozenset(["fpu", "sse2", "avx2", "fma"])
CORTEX_A76 = frozenset(["fp", "asimd", "fphp", "asimdhp", "asimddp"])  # Raspberry Pi 5
GRAVITON_3 = frozenset(["fp", "asimd", "fphp", "asimdhp", "bf16", "svebf16"])

RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.standard_normal((64, 64)).astype(np.float32)
SAMPLE = {
    "sample": RANDOM.standard_normal((1, 8, 64)).astype(np.float32),
    "timestep": np.full((1, 8, 64), 2, np.int64),
}
EXACT = SAMPLE["sample"].astype(np.float64) @ WEIGHT.T.astype(np.float64)


@pytest.mark.parametrize(
    ("features", "bfloat16", "float16"),
    [
        (SAPPHIRE_RAPIDS, True, True),
        (ZEN_3, False, False),
        (CORTEX_A76, False, True),
        (GRAVITON_3, True, True),
        (frozenset({"fphp"}), False, False),  # of scalars only
        (frozenset(), True, True),  # nobody says
    ],
)
def test_a_processor_has_the_types_of_its_instructions(
    features: frozenset[str], bfloat16: bool, float16: bool
) -> None:
    assert processor_gap("float32", features) == ""
    assert (processor_gap("bfloat16", features) == "") is bfloat16
    assert (processor_gap("float16", features) == "") is float16
    if not bfloat16:
        assert "avx512_bf16" in processor_gap("bfloat16", features)


def component(compute: str) -> SimpleNamespace:
    return SimpleNamespace(name="unet", recipe="fp16", compute=compute)


def test_a_graph_in_16_bits_is_computed_in_no_other_type() -> None:
    assert arithmetic_of(None, component("float16"), {}, "onnxruntime") == "float16"
    assert arithmetic_of("float16", component("float16"), {}, "onnxruntime") == "float16"
    with pytest.raises(RunnerFailure, match="the recipe 'fp16' wrote its graph in float16"):
        arithmetic_of("float32", component("float16"), {}, "onnxruntime")


def test_a_type_that_is_not_there_is_refused_with_the_reason_and_those_that_are() -> None:
    gaps = {"bfloat16": "it is Tuesday"}
    with pytest.raises(RunnerFailure, match="openvino cannot compute in bfloat16 here: it") as said:
        arithmetic_of("bfloat16", component("float32"), gaps, "openvino")
    assert said.value.hint == "Here it computes in float32, float16."


def test_a_job_names_a_type_that_there_is() -> None:
    line = b'{"command": "describe", "backend": {"arithmetic": "%s"}}'
    assert parse_job(line % b"bfloat16").backend.arithmetic == "bfloat16"
    assert parse_job(b'{"command": "describe"}').backend.arithmetic is None
    with pytest.raises(RunnerFailure, match="arithmetic"):
        parse_job(line % b"auto")


def opened(name: str, arithmetic: str | None = None) -> Backend:
    return open_backend(BackendOptions(name=name, threads=1, arithmetic=arithmetic))


def computed(folder: Path, backend: Backend) -> tuple[NDArray[Any], str]:
    """Return the largest relative error of a product, and the type that the load told."""
    told: list[Mapping[str, Any]] = []
    components = Components(
        load_package(folder), backend, "all", lambda event, **fields: told.append(fields)
    )
    value = components.run("unet", SAMPLE)["out_sample"]
    error = np.abs(value - EXACT).max() / np.abs(EXACT).max()
    return error, told[0]["arithmetic"]


def openvino_package(folder: Path) -> Path:
    import openvino as ov
    from openvino import opset13 as op

    sample = op.parameter([1, 8, 64], np.float32, name="sample")
    timestep = op.parameter([1, 8, 64], np.int64, name="timestep")
    for parameter in (sample, timestep):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    product = op.matmul(sample, op.constant(WEIGHT), False, True)
    time = op.convert(timestep, "f32")
    results = []
    for name, node in {"out_sample": product, "time": time}.items():
        node.output(0).set_names({name})
        results.append(op.result(node))
    (folder / "unet").mkdir(parents=True)
    graph = ov.Model(results, [sample, timestep], "unet")
    ov.save_model(graph, folder / "unet/openvino_model.xml", compress_to_fp16=False)
    outputs = {"out_sample": (1, 8, 64), "time": (1, 8, 64)}
    write_manifest(folder, "openvino", "unet/openvino_model.xml", SAMPLE, outputs)
    return folder


def tflite_package(folder: Path) -> Path:
    layers = (
        Layer(input="sample", output="out_sample", weight=WEIGHT),
        Layer(input="timestep", output="time"),
    )
    write_tflite(folder / "unet/model.tflite", SAMPLE, layers, ["out_sample", "time"])
    outputs = {"out_sample": (1, 8, 64), "time": (1, 8, 64)}
    write_manifest(folder, "tflite", "unet/model.tflite", SAMPLE, outputs)
    return folder


_MADE = {"openvino": openvino_package, "ai_edge_litert": tflite_package}
_ROUNDING = {"float32": (0.0, 1e-6), "float16": (1e-5, 2e-3), "bfloat16": (3e-4, 2e-2)}
"""Between what an error of the product lies: 24, 11 and 8 significant bits of its operands."""


@pytest.mark.parametrize("name", ["openvino", "ai_edge_litert"])
@pytest.mark.parametrize("wanted", ["float32", "bfloat16", "float16"])
def test_a_runtime_computes_in_the_type_or_says_why_not(
    name: str, wanted: str, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert.interpreter" if name == "ai_edge_litert" else name)
    folder, backend = _MADE[name](tmp_path), opened(name, wanted)
    gap = backend.arithmetic_gaps.get(wanted)
    if gap is not None:
        with pytest.raises(RunnerFailure, match=f"{name} cannot compute in {wanted} here"):
            computed(folder, backend)
        return
    error, told = computed(folder, backend)
    least, most = _ROUNDING[wanted]
    assert told == wanted
    assert least <= error < most


@pytest.mark.parametrize("name", ["openvino", "ai_edge_litert"])
def test_a_runtime_computes_in_float32_where_nobody_says(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert.interpreter" if name == "ai_edge_litert" else name)
    error, told = computed(_MADE[name](tmp_path), opened(name))
    assert told == "float32"
    assert error < 1e-6


@pytest.mark.parametrize("name", ["openvino", "ai_edge_litert"])
def test_an_old_processor_has_gaps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert.interpreter" if name == "ai_edge_litert" else name)
    monkeypatch.setattr(arithmetic, "processor_features", lambda: ZEN_3)
    assert opened(name).arithmetic_gaps.keys() == {"bfloat16", "float16"}
    assert "this processor has no instructions" in opened(name).arithmetic_gaps["float16"]


def test_onnxruntime_has_bfloat16_on_arm_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert opened("onnxruntime").arithmetic_gaps.keys() == {"bfloat16", "float16"}
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(arithmetic, "processor_features", lambda: GRAVITON_3)
    assert opened("onnxruntime").arithmetic_gaps.keys() == {"float16"}
    options = opened("onnxruntime")._session_options(  # type: ignore[attr-defined]  # its own
        lean=False, arithmetic="bfloat16"
    )
    key = "mlas.enable_gemm_fastmath_arm64_bfloat16"
    assert options.get_session_config_entry(key) == "1"
    monkeypatch.setattr(arithmetic, "processor_features", lambda: CORTEX_A76)
    assert "no instructions for bfloat16" in opened("onnxruntime").arithmetic_gaps["bfloat16"]
