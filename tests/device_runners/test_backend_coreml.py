"""The runner's Core ML backend, held against coremltools' own classes and signatures.

Core ML itself is on a Mac alone. What the backend calls is replaced by mocks that coremltools'
classes specify (a call that they would refuse fails here), and that compute with the executor.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from edgegen_runner.backends import BackendOptions
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import Component, Tensor

from edgegen.core.targets import load_target
from edgegen.exporters.coreml.interface import renamed_by
from edgegen.mil.executor.program import MilProgram
from tests.exporters.harness import TinyPipeline
from tests.exporters.test_coreml_export import export

ct = pytest.importorskip("coremltools")
assert load_target("coreml")


@pytest.fixture
def backend_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    compiled: list[tuple[Path, Any]] = []
    original = ct.models.CompiledMLModel

    def compile_model(model: Any, destination_path: str | None = None) -> str:
        assert destination_path is not None
        shutil.copytree(model, destination_path)
        return destination_path

    def predict_of(path: str) -> Any:
        program = MilProgram(Path(path))

        def predict(data: Any, state: Any = None) -> Any:
            assert all(value.dtype == np.float32 for value in data.values())
            return program.run(data)

        return predict

    def open_compiled(path: str, compute_units: Any = ct.ComputeUnit.ALL, **_: Any) -> Any:
        compiled.append((Path(path), compute_units))
        model = create_autospec(original, instance=True)
        model.predict.side_effect = predict_of(path)
        return model

    monkeypatch.setattr(
        ct.models.utils,
        "compile_model",
        create_autospec(ct.models.utils.compile_model, side_effect=compile_model),
    )
    monkeypatch.setattr(
        ct.models,
        "CompiledMLModel",
        create_autospec(original, side_effect=open_compiled),
    )
    module = importlib.import_module("edgegen_runner.backends.coreml")
    monkeypatch.setattr(module, "_cache", lambda: tmp_path / "cache")
    module.compiled = compiled  # type: ignore[attr-defined]
    return module


def component_of(component: Any, packages: list[Path]) -> Component:
    def tensors(specs: Any) -> dict[str, Tensor]:
        return {each.name: Tensor(each.name, each.dtype, each.shape) for each in specs}

    return Component(
        component.name,
        component.role,
        packages[0],
        tensors(component.inputs),
        tensors(component.outputs),
        tuple(packages[1:]),
        natives=renamed_by(component),
    )


def random_inputs(component: Component) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.normal(size=tensor.shape).astype(np.float32)
        for name, tensor in component.inputs.items()
    }


@pytest.mark.parametrize("limit", [pytest.param(None, marks=pytest.mark.slow), 100_000])
def test_a_component_is_run_through_coremltools_classes(
    limit: int | None, backend_module: Any, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, _, whole = export(folder, "unet", tmp_path / "whole", "fp16")
    size = (whole[0] / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    options = {} if limit is None else {"file_limit_bytes": int(size * 0.6)}
    unet, _, packages = export(folder, "unet", tmp_path / "out", "fp16", **options)
    component = component_of(unet, packages)
    backend = backend_module.CoreMlBackend(BackendOptions("coreml", ("CPU_AND_NE",)))
    session = backend.load(component.path, component)
    assert session.providers == ("CPU_AND_NE",)
    inputs = random_inputs(component)
    found = session.run(inputs, ["out_sample"])
    native = {
        **{name: inputs[name] for name in ("sample", "timestep")},
        "encoder_hidden_states": inputs["encoder_hidden_states"].transpose(0, 2, 1)[:, :, None],
    }
    expected = MilProgram(whole[0]).run(native)["noise_pred"]
    np.testing.assert_array_equal(found["out_sample"], expected)
    assert {unit for _, unit in backend_module.compiled} == {ct.ComputeUnit.CPU_AND_NE}
    session.close()


def test_a_package_is_compiled_once_and_outside_of_it(
    backend_module: Any, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    vae, _, packages = export(tiny_pipeline("sd15"), "vae_decoder", tmp_path / "out", "fp16")
    before = sorted(tmp_path.glob("out/**/*"))
    component = component_of(vae, packages)
    backend = backend_module.CoreMlBackend(BackendOptions("coreml"))
    backend.load(component.path, component)
    backend.load(component.path, component)
    assert ct.models.utils.compile_model.call_count == 1
    assert sorted(tmp_path.glob("out/**/*")) == before
    assert {path for path, _ in backend_module.compiled} == set(
        (tmp_path / "cache").glob("*/VAEDecoder.mlmodelc")
    )


@pytest.mark.parametrize("providers", [("NPU",), ("CPU_ONLY", "ALL")])
def test_a_compute_unit_that_core_ml_does_not_have_is_refused(
    providers: tuple[str, ...], backend_module: Any, tmp_path: Path
) -> None:
    backend = backend_module.CoreMlBackend(BackendOptions("coreml", providers))
    component = Component("unet", "denoiser", tmp_path, {}, {})
    with pytest.raises(RunnerFailure, match="compute unit") as caught:
        backend.load(tmp_path, component)
    assert caught.value.kind == "missing-provider"


def test_the_names_of_the_compute_units_are_coremltools_own(backend_module: Any) -> None:
    units = backend_module.CoreMlBackend.available_providers
    assert set(units) == {"ALL", "CPU_AND_GPU", "CPU_ONLY", "CPU_AND_NE"}
