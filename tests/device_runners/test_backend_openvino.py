"""The runner on OpenVINO graphs: what it computes, on which device, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.backends import Backend, BackendOptions, open_backend
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.mapped_pages import clean_mappings, folder_mark
from edgegen_runner.package import load_package
from edgegen_runner.residency import Components

from edgegen.core.errors import ConfigError
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import ProbeJob
from edgegen.runner.session import RunnerSession
from tests.device_runners.tiny_tflite import Array, write_manifest

pytest.importorskip("openvino", reason="pip install edgegen[openvino]")

RANDOM = np.random.default_rng(5)
WEIGHT = RANDOM.standard_normal((4, 4)).astype(np.float16)
INPUTS: Mapping[str, Array] = {
    "sample": RANDOM.standard_normal((1, 2, 4)).astype(np.float32),
    "timestep": np.array([7], np.int64),
}
OUTPUTS = {"hidden_states.0": (1, 2, 4), "out_sample": (1, 2, 4), "half": (1, 2, 4)}
HIDDEN = INPUTS["sample"] @ WEIGHT.astype(np.float32).T
EXPECTED = {"hidden_states.0": HIDDEN, "out_sample": HIDDEN + 7, "half": HIDDEN}


def openvino(**options: object) -> Backend:
    return open_backend(BackendOptions(name="openvino", **options))  # type: ignore[arg-type]


def package(folder: Path, *, axes: tuple[int, int, int] = (1, 2, 4)) -> Path:
    """Write a package whose one graph has weights in float16, and one output in float16."""
    import openvino as ov
    from openvino import opset13 as op

    sample = op.parameter(list(axes), np.float32, name="sample")
    timestep = op.parameter([1], np.int64, name="timestep")
    for parameter in (sample, timestep):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    hidden = op.matmul(sample, op.convert(op.constant(WEIGHT), "f32"), False, True)
    moved = op.add(hidden, op.convert(timestep, "f32"))
    nodes = {"hidden_states.0": hidden, "out_sample": moved, "half": op.convert(hidden, "f16")}
    results = []
    for name, node in nodes.items():
        node.output(0).set_names({name})
        results.append(op.result(node))
    (folder / "unet").mkdir(parents=True)
    graph = ov.Model(results, [sample, timestep], "unet")
    ov.save_model(graph, folder / "unet/openvino_model.xml", compress_to_fp16=False)
    write_manifest(folder, "openvino", "unet/openvino_model.xml", INPUTS, OUTPUTS)
    return folder


def session_of(folder: Path, backend: Backend):  # type: ignore[no-untyped-def]  # the runner's Session
    component = load_package(folder).component("unet")
    return backend.load(component.path, component)


def assert_expected(values: Mapping[str, Array], inputs: Mapping[str, Array] = INPUTS) -> None:
    for name, value in values.items():
        atol = 4e-3 if name == "half" else 1e-5
        np.testing.assert_allclose(value, EXPECTED[name], rtol=1e-5, atol=atol)


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("memory", ["auto", "lean", "fast"])
def test_a_graph_computes_what_numpy_does(threads: int | None, memory: str, tmp_path: Path) -> None:
    loaded = load_package(package(tmp_path))
    backend = openvino(threads=threads, memory=memory)
    components = Components(loaded, backend, "all", lambda *_, **__: None)
    values = components.run("unet", INPUTS)
    components.close()
    assert values.keys() == EXPECTED.keys()
    assert_expected(values)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what is mapped")
@pytest.mark.parametrize(("memory", "stays"), [("lean", False), ("fast", True)])
def test_pages_of_the_file_are_taken_back_once_weights_are_copied(
    memory: str, stays: bool, tmp_path: Path
) -> None:
    import openvino as ov
    from openvino import opset13 as op

    weight = RANDOM.standard_normal((512, 512)).astype(np.float32)
    sample = op.parameter([1, 2, 512], np.float32, name="sample")
    sample.output(0).set_names({"sample"})
    result = op.matmul(sample, op.constant(weight), False, True)
    result.output(0).set_names({"out_sample"})
    (tmp_path / "unet").mkdir()
    graph = ov.Model([op.result(result)], [sample], "unet")
    ov.save_model(graph, tmp_path / "unet/openvino_model.xml", compress_to_fp16=False)
    inputs = {"sample": RANDOM.standard_normal((1, 2, 512)).astype(np.float32)}
    outputs = {"out_sample": (1, 2, 512)}
    write_manifest(tmp_path, "openvino", "unet/openvino_model.xml", inputs, outputs)
    session = session_of(tmp_path, openvino(memory=memory))
    for _ in range(2):
        values = session.run(inputs)["out_sample"]
        np.testing.assert_allclose(values, inputs["sample"] @ weight.T, rtol=1e-3, atol=1e-4)
    maps = Path("/proc/self/smaps").read_text()
    assert any(clean_mappings(maps, (folder_mark(tmp_path),))) is stays


def test_outputs_have_the_types_of_the_graph(tmp_path: Path) -> None:
    values = session_of(package(tmp_path), openvino()).run(INPUTS)
    assert {name: value.dtype.name for name, value in values.items()} == {
        "hidden_states.0": "float32",
        "out_sample": "float32",
        "half": "float16",
    }


def test_only_the_outputs_that_are_asked_for_come(tmp_path: Path) -> None:
    values = session_of(package(tmp_path), openvino()).run(INPUTS, ["out_sample"])
    assert list(values) == ["out_sample"]
    assert_expected(values)


def test_outputs_stay_as_they_are_when_the_next_run_comes(tmp_path: Path) -> None:
    session = session_of(package(tmp_path), openvino())
    first = session.run(INPUTS)["out_sample"]
    kept = first.copy()
    session.run({**INPUTS, "timestep": np.array([99], np.int64)})
    assert np.array_equal(first, kept)


def test_an_open_axis_takes_any_size(tmp_path: Path) -> None:
    session = session_of(package(tmp_path, axes=(-1, -1, 4)), openvino())
    sample = RANDOM.standard_normal((3, 5, 4)).astype(np.float32)
    value = session.run({**INPUTS, "sample": sample})["hidden_states.0"]
    np.testing.assert_allclose(value, sample @ WEIGHT.astype(np.float32).T, rtol=1e-5, atol=1e-5)


def test_the_device_that_is_used_is_told(tmp_path: Path) -> None:
    backend = openvino(providers=("CPU",))
    assert "CPU" in backend.available_providers
    assert session_of(package(tmp_path), backend).providers == ("CPU",)


@pytest.mark.parametrize(
    "providers", [("NPU",), ("CPU", "NPU"), ("AUTO",), ("CPUExecutionProvider",)]
)
def test_a_device_that_is_not_there_is_never_replaced(
    providers: tuple[str, ...], tmp_path: Path
) -> None:
    if "NPU" in openvino().available_providers:
        pytest.skip("this machine has an NPU")
    with pytest.raises(RunnerFailure, match=f"no device {providers[-1]}") as caught:
        session_of(package(tmp_path), openvino(providers=providers))
    assert caught.value.kind == "missing-provider"
    assert "Known: CPU" in caught.value.hint


def test_a_graph_without_its_weights_is_told(tmp_path: Path) -> None:
    folder = package(tmp_path)
    (folder / "unet/openvino_model.bin").unlink()
    with pytest.raises(RunnerFailure, match="OpenVINO cannot load") as caught:
        session_of(folder, openvino())
    assert caught.value.kind == "runtime"


def test_a_graph_that_lacks_what_the_manifest_declares_is_refused(tmp_path: Path) -> None:
    folder = package(tmp_path)
    outputs = {**OUTPUTS, "other": (1,)}
    write_manifest(folder, "openvino", "unet/openvino_model.xml", INPUTS, outputs)
    with pytest.raises(RunnerFailure, match="has no other") as caught:
        session_of(folder, openvino())
    assert caught.value.kind == "bad-package"


def test_an_input_of_another_shape_is_the_runtimes_error(tmp_path: Path) -> None:
    session = session_of(package(tmp_path), openvino())
    with pytest.raises(RunnerFailure, match="failed in unet") as caught:
        session.run({**INPUTS, "sample": np.zeros((1, 2, 5), np.float32)})
    assert caught.value.kind == "runtime"


def test_nothing_is_written_into_the_package(tmp_path: Path) -> None:
    folder = package(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    session_of(folder, openvino()).run(INPUTS)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def probe(folder: Path, place: Path, wishes: Wishes) -> None:
    given, made = place / "in", place / "out"
    given.mkdir()
    for name, value in INPUTS.items():
        np.save(given / f"{name}.npy", value)
    job = ProbeJob(
        package=str(folder),
        component="unet",
        inputs=str(given),
        outputs=str(made),
        backend=backend_here("openvino", wishes),
    )
    for _ in RunnerSession().events(job):
        pass
    assert_expected({name: np.load(made / f"{name}.npy") for name in OUTPUTS})


def test_the_host_names_the_runtime_and_the_runners_process_uses_it(tmp_path: Path) -> None:
    probe(package(tmp_path / "package"), tmp_path, Wishes(providers=("CPU",), threads=1))


def test_another_targets_runtime_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="onnxruntime does not run"):
        probe(package(tmp_path / "package"), tmp_path, Wishes(runtime="onnxruntime"))


def test_the_backend_needs_numpy_and_openvino_alone(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('openvino_telemetry', 'packaging'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from edgegen_runner.backends import BackendOptions, open_backend\n"
        "open_backend(BackendOptions(name='openvino'))\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in names if name.isidentifier() and name[0] != '_'))\n"
    )
    folder = str(Path(__file__).parents[2] / "device_runners/python")
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {folder!r})\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['edgegen_runner', 'numpy', 'openvino']"
