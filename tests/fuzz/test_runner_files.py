"""Broken and hostile files and jobs of the runner: manifests, jobs, arrays, scheduler configs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from edgegen_runner.arrays import load_array
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.golden import check
from edgegen_runner.job import GenerateJob, GoldenJob, parse_job
from edgegen_runner.package import Component, load_package
from edgegen_runner.request import Request
from edgegen_runner.schedulers import LACKED_BECAUSE, SCHEDULERS
from edgegen_runner.session import generate
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.harness import case, fuzzing
from tests.fuzz.json_changes import Change, changed, changes
from tests.runner.test_runner_session import golden_package
from tests.tiny_packages import onnx_package

JOB: dict[str, Any] = {
    "command": "generate",
    "package": "p",
    "request": {
        "prompts": ["a cat"],
        "negative_prompt": "",
        "steps": 2,
        "guidance": 3.0,
        "seed": 1,
        "count": 1,
        "width": 32,
        "image": "a.png",
        "latents": "a.npy",
    },
    "output": "o",
    "file_names": ["a.png"],
    "residency": "all",
    "warmup_images": 1,
    "repeat": 1,
    "duration_s": 1.0,
    "backend": {"name": "onnxruntime", "providers": ["x"], "threads": 1, "memory": "lean"},
    "sensors": {"interval_s": 1.0},
    "measure_memory": True,
    "verify": False,
}
SCHEDULER_NAMES = (*SCHEDULERS, *LACKED_BECAUSE)
CONFIG: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "clip_sample": False,
    "clip_sample_range": 1.0,
    "set_alpha_to_one": False,
    "thresholding": False,
    "dynamic_thresholding_ratio": 0.995,
    "sample_max_value": 1.0,
    "rescale_betas_zero_snr": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "sigma_min": None,
    "sigma_max": None,
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "final_sigmas_type": "zero",
    "lambda_min_clipped": float("-inf"),
    "original_inference_steps": 50,
    "timestep_scaling": 10.0,
    "variance_type": None,
    "skip_prk_steps": True,
    "shift": 1.0,
    "use_dynamic_shifting": False,
    "use_beta_sigmas": False,
    "sigma_schedule": "karras",
    "sigma_data": 0.5,
    "rho": 7.0,
    "s_noise": 1.0,
    "predictor_order": 2,
    "corrector_order": 2,
}


class PlayedBackend:
    """Computes nothing: each output has the shape that the manifest declares, with 8 for names."""

    name = "played"
    version = "0"
    available_providers = ("played",)
    arithmetic_gaps: Mapping[str, str] = MappingProxyType({})

    def load(self, path: Path, component: Component) -> PlayedSession:
        return PlayedSession(component)


class PlayedSession:
    """A component of `PlayedBackend`."""

    providers = ("played",)
    arithmetic = "float32"

    def __init__(self, component: Component) -> None:
        self._component = component

    def run(self, inputs: Any, outputs: Any = None) -> dict[str, Any]:
        sizes = {"batch": len(next(iter(inputs.values()), [0]))}
        sample = inputs.get("sample", inputs.get("latent_sample"))
        if sample is not None and np.ndim(sample) == 4:
            sizes |= {"height / 2": sample.shape[2], "width / 2": sample.shape[3]}
            sizes |= {"height": 2 * sample.shape[2], "width": 2 * sample.shape[3]}
        sizes["sequence"] = 77
        result = {}
        for tensor in self._component.outputs.values():
            shape = [sizes.get(axis, 8) if isinstance(axis, str) else axis for axis in tensor.shape]
            if np.prod(shape, dtype=float) > 1e6:
                raise RunnerFailure("memory", "played: memory ran out")
            result[tensor.name] = np.zeros(shape, np.float32)
        return result

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a package with a golden case."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("fuzzed")
        return golden_package(onnx_package(folder / "plain"), folder / "golden")


def silent(event: str, **fields: Any) -> None:
    """Take an event."""


@fuzzing(2)
@given(changed_by=changes())
@example(changed_by=[([], "replace", float("nan"))])
def test_a_changed_manifest_ends_orderly(changed_by: list[Change], package: Path) -> None:
    path = package / "edgegen.json"
    whole = path.read_text()
    path.write_text(json.dumps(changed(json.loads(whole), changed_by)))
    try:
        with case("runner manifests"):
            load_package(package)
            check(GoldenJob(package=package), PlayedBackend(), silent)
        with case("runner manifests"):
            request = Request(prompts=("a cat",), steps=2)
            generate(GenerateJob(package=package, request=request), PlayedBackend(), silent)
    finally:
        path.write_text(whole)


@fuzzing(2)
@given(changed_by=changes(), name=st.sampled_from(SCHEDULER_NAMES), steps=st.integers(1, 60))
def test_a_changed_scheduler_config_ends_orderly(
    changed_by: list[Change], name: str, steps: int, package: Path
) -> None:
    path = package / "scheduler" / "scheduler_config.json"
    whole = path.read_text()
    path.write_text(json.dumps(changed({"_class_name": name, **CONFIG}, changed_by)))
    try:
        with case("scheduler configs"), np.errstate(all="ignore"):
            request = Request(prompts=("a cat",), steps=steps)
            generate(GenerateJob(package=package, request=request), PlayedBackend(), silent)
    finally:
        path.write_text(whole)


@fuzzing(4)
@given(changed_by=changes())
def test_a_changed_job_ends_orderly(changed_by: list[Change]) -> None:
    with case("jobs"):
        parse_job(json.dumps(changed(JOB, changed_by)).encode())


@fuzzing(4)
@given(
    data=st.binary(max_size=200), start=st.sampled_from((b"", b"{", b'{"command": ', b"[" * 3000))
)
def test_a_job_of_any_bytes_ends_orderly(data: bytes, start: bytes) -> None:
    with case("jobs"):
        parse_job(start + data)


HEADERS = st.builds(
    "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}".format,
    st.sampled_from(("'<f4'", "'|O'", "'<i8'", "'>f2'", "'|b1'", "[('a', '<f4')]", "'<U9'", "1")),
    st.sampled_from(("False", "True", "0", "x")),
    st.lists(st.sampled_from((0, 1, 2, 3, -1, 10**9, 10**17, 10**30)), max_size=40).map(tuple),
)


@st.composite
def npy(draw: st.DrawFn) -> bytes:
    """Draw a .npy file: any header, or any bytes in a whole one."""
    header = draw(HEADERS | st.text(max_size=60)).encode("utf-8", "replace")
    version = draw(st.sampled_from((1, 1, 2, 3, 0, 9)))
    length = draw(st.sampled_from((len(header), len(header), 0, 60_000, 2**31)))
    size = length.to_bytes(8, "little")[: 2 if version == 1 else 4]
    data = bytearray(b"\x93NUMPY" + bytes([version, 0]) + size + header)
    data += bytes(draw(st.sampled_from((0, 4, 8, 16, 24, 48))))
    for place, byte in draw(
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 255)), max_size=2)
    ):
        data[place % len(data)] = byte
    return bytes(data)


@fuzzing(4)
@given(data=npy() | st.binary(max_size=100))
def test_a_broken_array_ends_orderly(data: bytes, tmp_path_factory: Any) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "fuzzed.npy"
    path.write_bytes(data)
    with case("npy"):
        load_array(path)


@fuzzing()
@given(
    name=st.sampled_from(
        ("unet.in.sample", "unet.out.out_sample", "trajectory.0", "trajectory.1", "image")
    ),
    shape=st.lists(st.integers(0, 5), max_size=6),
    kind=st.sampled_from(("float32", "int64", "float16", "bool")),
    number=st.sampled_from((0.0, 1.0, float("nan"), float("inf"), 1e38)),
)
def test_a_changed_golden_case_ends_orderly(
    name: str, shape: list[int], kind: str, number: float, package: Path
) -> None:
    path = package / "golden" / f"{name}.npy"
    whole = path.read_bytes()
    with np.errstate(invalid="ignore", over="ignore"):
        np.save(path, np.full(shape, number).astype(kind))
    try:
        with case("golden cases"), np.errstate(all="ignore"):
            check(GoldenJob(package=package), PlayedBackend(), silent)
    finally:
        path.write_bytes(whole)


def test_the_played_backend_draws(package: Path) -> None:
    found: list[str] = []
    job = GenerateJob(package=package, request=Request(prompts=("a cat",), steps=2))
    generate(job, PlayedBackend(), lambda event, **fields: found.append(event))
    assert "image_end" in found
