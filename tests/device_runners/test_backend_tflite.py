"""The runner on TFLite graphs: whole, cut into parts, and those that it has to refuse."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.backends import Backend, BackendOptions, RunsEach, backend_for, open_backend
from edgegen_runner.backends.parts import PartInTurn
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import load_package
from edgegen_runner.residency import Components

from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import Backend as HostBackend
from edgegen.runner.job import ProbeJob
from edgegen.runner.session import RunnerSession
from tests.device_runners.tiny_tflite import Array, Layer, write_manifest, write_tflite
from tests.peers.tflite_runtime_environment import tflite_runtime_python

pytest.importorskip("ai_edge_litert", reason="pip install edgegen[tflite]")

RANDOM = np.random.default_rng(4)
FIRST, SECOND, THIRD = (RANDOM.standard_normal((4, 4)).astype(np.float32) for _ in range(3))
INPUTS = {
    "sample": RANDOM.standard_normal((1, 2, 4)).astype(np.float32),
    "timestep": np.array([[[1, 2, 3, 7]]], np.int64),
}
OUTPUTS = {"hidden_states.0": (1, 2, 4), "out_sample": (1, 2, 4), "time": (1, 1, 4)}
LAYERS = (
    Layer(input="sample", output="hidden_states.0", weight=FIRST),
    Layer(input="timestep", output="time"),
    Layer(input="hidden_states.0", output="middle", weight=SECOND),
    Layer(input="middle", output="out_sample", weight=THIRD),
)
EXPECTED = {
    "hidden_states.0": INPUTS["sample"] @ FIRST.T,
    "out_sample": INPUTS["sample"] @ FIRST.T @ SECOND.T @ THIRD.T,
    "time": INPUTS["timestep"].astype(np.float32),
}


def litert(**options: object) -> Backend:
    return open_backend(BackendOptions(name="ai_edge_litert", **options))  # type: ignore[arg-type]


def whole(folder: Path, storage: str = "float32") -> Path:
    write_tflite(folder / "unet/model.tflite", INPUTS, LAYERS, list(OUTPUTS))
    write_manifest(folder, "tflite", "unet/model.tflite", INPUTS, OUTPUTS, storage=storage)
    return folder


def write_parts(folder: Path, numbers: Sequence[int] = (1, 2, 3)) -> None:
    """Cut the graph of LAYERS in three; the last part wants an output of the first."""
    hidden = {"hidden_states.0": INPUTS["sample"]}
    parts = (
        (INPUTS, LAYERS[:2], ["hidden_states.0", "time"]),
        (hidden, LAYERS[2:3], ["middle"]),
        ({"middle": INPUTS["sample"], **hidden}, LAYERS[3:], ["out_sample"]),
    )
    for number, (inputs, layers, outputs) in zip(numbers, parts, strict=True):
        name = "model.tflite" if number == 1 else f"model.{number}.tflite"
        write_tflite(folder / "unet" / name, inputs, layers, outputs)


def cut(folder: Path, numbers: Sequence[int] = (1, 2, 3)) -> Path:
    write_parts(folder, numbers)
    write_manifest(folder, "tflite", "unet/model.tflite", INPUTS, OUTPUTS)
    return folder


def run(
    folder: Path,
    backend: Backend,
    outputs: Sequence[str] | None = None,
    residency: str = "all",
) -> dict[str, Array]:
    components = Components(load_package(folder), backend, residency, lambda *_, **__: None)
    try:
        return components.run("unet", INPUTS, outputs)
    finally:
        components.close()


def packed(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*packed*") if file.is_file())


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("residency", ["all", "parts"])
def test_packed_weights_are_mapped_from_a_file(residency: str, keeps: bool, tmp_path: Path) -> None:
    folder, kept = cut(tmp_path / "package"), tmp_path / "kept"
    before = sorted(folder.rglob("*"))
    backend = litert(memory="lean", optimized=kept if keeps else None)
    for _ in range(2):
        results = run(folder, backend, residency=residency)
        for name, expected in EXPECTED.items():
            np.testing.assert_allclose(results[name], expected, rtol=1e-5, atol=1e-6)
    assert len(packed(kept)) == (3 if keeps else 0)
    assert sorted(folder.rglob("*")) == before


def test_packed_weights_that_are_damaged_are_packed_again(tmp_path: Path) -> None:
    folder, kept = whole(tmp_path / "package"), tmp_path / "kept"
    first = run(folder, litert(memory="lean", optimized=kept))
    (file,) = packed(kept)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:40])
    second = run(folder, litert(memory="lean", optimized=kept))
    assert all(np.array_equal(first[name], second[name]) for name in EXPECTED)
    assert file.stat().st_size == size


def test_packed_weights_are_kept_of_large_graphs_alone_unless_asked(tmp_path: Path) -> None:
    run(whole(tmp_path / "package"), litert(optimized=tmp_path / "kept"))
    assert not packed(tmp_path)


def test_packed_weights_without_room_for_their_file_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1))
    folder = whole(tmp_path / "package")
    results = run(folder, litert(memory="lean", optimized=tmp_path / "kept"))
    np.testing.assert_allclose(results["out_sample"], EXPECTED["out_sample"], rtol=1e-5, atol=1e-6)
    assert not packed(tmp_path)


def test_a_part_in_turn_is_in_memory_only_while_it_computes() -> None:
    class Doubles:
        inputs, outputs = frozenset({"x"}), frozenset({"y"})

        def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
            return {"y": values["x"] * 2}

    loaded: list[weakref.ref[Doubles]] = []

    def load() -> Doubles:
        part = Doubles()
        loaded.append(weakref.ref(part))
        return part

    part = PartInTurn(load)
    for _ in range(2):
        assert part.run({"x": np.ones(1)}) == {"y": 2.0}
    assert len(loaded) == 3
    assert all(it() is None for it in loaded)


def test_a_part_in_turn_serves_all_calls_before_it_goes(tmp_path: Path) -> None:
    package = load_package(cut(tmp_path))
    component = package.component("unet")
    loaded = litert().load(component.path, dataclasses.replace(component, in_turn=True))
    assert isinstance(loaded, RunsEach)
    counted: list[int] = []
    for number, part in enumerate(loaded._parts):  # type: ignore[attr-defined]  # what loads
        load = part._load
        part._load = lambda number=number, load=load: counted.append(number) or load()
    other = {name: value * 2 for name, value in INPUTS.items()}
    both = loaded.run_each([INPUTS, other])
    assert counted == sorted(counted) == list(range(len(counted)))
    assert len(counted) > 1
    for values, inputs in zip(both, (INPUTS, other), strict=True):
        alone = loaded.run(inputs)  # type: ignore[attr-defined]  # a session
        for name, value in alone.items():
            np.testing.assert_array_equal(values[name], value)


@pytest.mark.parametrize("make", [whole, cut])
@pytest.mark.parametrize("threads", [None, 1])
def test_a_graph_computes_the_same_whole_and_in_parts(
    make: object, threads: int | None, tmp_path: Path
) -> None:
    values = run(make(tmp_path), litert(threads=threads))  # type: ignore[operator]
    assert values.keys() == EXPECTED.keys()
    for name, value in values.items():
        np.testing.assert_allclose(value, EXPECTED[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [whole, cut])
def test_only_the_outputs_that_are_asked_for_come(make: object, tmp_path: Path) -> None:
    values = run(make(tmp_path), litert(), ["hidden_states.0"])  # type: ignore[operator]
    assert list(values) == ["hidden_states.0"]


def test_outputs_stay_as_they_are_when_the_next_run_comes(tmp_path: Path) -> None:
    package = load_package(whole(tmp_path))
    session = litert().load(package.component("unet").path, package.component("unet"))
    first = session.run(INPUTS)["out_sample"]
    kept = first.copy()
    session.run({**INPUTS, "sample": INPUTS["sample"] * 2})
    assert np.array_equal(first, kept)


def test_the_processor_that_is_used_is_told(tmp_path: Path) -> None:
    component = load_package(whole(tmp_path)).component("unet")
    assert litert(providers=("XNNPACK",)).load(component.path, component).providers == ("XNNPACK",)


def test_a_graph_that_xnnpack_takes_nothing_of_does_not_run_on_it(tmp_path: Path) -> None:
    inputs = {"timestep": INPUTS["timestep"]}
    write_tflite(tmp_path / "unet/model.tflite", inputs, LAYERS[1:2], ["time"])
    write_manifest(tmp_path, "tflite", "unet/model.tflite", inputs, {"time": (1, 1, 4)})
    component = load_package(tmp_path).component("unet")
    assert litert().load(component.path, component).providers == ()
    with pytest.raises(RunnerFailure, match="none of its operators") as caught:
        litert(providers=("XNNPACK",)).load(component.path, component)
    assert caught.value.kind == "missing-provider"


def test_a_processor_that_the_runtime_lacks_is_refused(tmp_path: Path) -> None:
    component = load_package(whole(tmp_path)).component("unet")
    with pytest.raises(RunnerFailure, match="has no NNAPI") as caught:
        litert(providers=("NNAPI",)).load(component.path, component)
    assert caught.value.kind == "missing-provider"


def test_parts_end_where_a_number_is_left_out(tmp_path: Path) -> None:
    folder = cut(tmp_path, (1, 2, 4))
    assert [path.name for path in load_package(folder).component("unet").parts] == [
        "model.2.tflite"
    ]
    with pytest.raises(RunnerFailure, match="has no out_sample") as caught:
        run(folder, litert())
    assert caught.value.kind == "bad-package"


def test_a_part_that_the_manifest_does_not_list_is_no_part(tmp_path: Path) -> None:
    folder = whole(tmp_path)
    (folder / "unet/model.2.tflite").write_bytes(b"no graph")
    assert load_package(folder).component("unet").parts == ()
    np.testing.assert_allclose(run(folder, litert())["time"], EXPECTED["time"])


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = cut(tmp_path)
    (folder / "unet/model.3.tflite").unlink()
    with pytest.raises(RunnerFailure, match=r"model\.3\.tflite is missing") as caught:
        load_package(folder)
    assert caught.value.kind == "bad-package"


def test_a_part_that_leads_out_of_the_package_is_refused(tmp_path: Path) -> None:
    folder = cut(tmp_path / "package")
    part = folder / "unet/model.2.tflite"
    part.rename(tmp_path / "elsewhere.tflite")
    part.symlink_to(tmp_path / "elsewhere.tflite")
    with pytest.raises(RunnerFailure, match="leaves the package"):
        load_package(folder)


def test_parts_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    folder = cut(tmp_path, (1, 3, 2))
    with pytest.raises(RunnerFailure, match=r"Part 2 of unet wants middle") as caught:
        run(folder, litert())
    assert caught.value.kind == "bad-package"


def test_a_file_that_is_no_graph_is_told(tmp_path: Path) -> None:
    folder = whole(tmp_path)
    (folder / "unet/model.tflite").write_bytes(b"no graph at all")
    with pytest.raises(RunnerFailure, match="ai_edge_litert cannot load") as caught:
        run(folder, litert())
    assert caught.value.kind == "runtime"


def test_a_graph_without_the_signature_is_refused(tmp_path: Path) -> None:
    folder = whole(tmp_path)
    write_tflite(folder / "unet/model.tflite", INPUTS, LAYERS, list(OUTPUTS), signature="other")
    with pytest.raises(RunnerFailure, match="serving_default") as caught:
        run(folder, litert())
    assert "It has other" in caught.value.hint


def test_an_input_of_another_shape_is_the_runtimes_error(tmp_path: Path) -> None:
    component = load_package(whole(tmp_path)).component("unet")
    session = litert().load(component.path, component)
    with pytest.raises(RunnerFailure, match="failed in unet") as caught:
        session.run({**INPUTS, "sample": np.zeros((1, 2, 5), np.float32)})
    assert caught.value.kind == "runtime"


def test_the_host_names_the_runtime_and_the_runners_process_uses_it(tmp_path: Path) -> None:
    folder = cut(tmp_path / "package")
    probe(folder, backend_here("tflite", Wishes(threads=1)), tmp_path, sys.executable)
    assert backend_for("tflite") == backend_here("tflite", Wishes()).name == "ai_edge_litert"


def test_the_runner_by_hand_finds_the_runtime_of_a_package(tmp_path: Path) -> None:
    from edgegen.runner.pack import packed_runner

    arguments = [sys.executable, str(packed_runner()), "--package", str(whole(tmp_path))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1  # it came as far as the scheduler, which this package lacks
    assert "scheduler_config.json" in done.stderr


def test_a_runtime_that_is_not_installed_is_told_with_what_installs_it() -> None:
    with pytest.raises(RunnerFailure, match="tflite_runtime cannot be imported") as caught:
        open_backend(BackendOptions(name="tflite_runtime"))
    assert "tflite-runtime 'numpy<2'" in caught.value.hint


def probe(folder: Path, backend: HostBackend, place: Path, python: str) -> None:
    """Run the component in the runner's process, and compare what it computes."""
    given, made = place / "in", place / "out"
    given.mkdir()
    for name, value in INPUTS.items():
        np.save(given / f"{name}.npy", value)
    job = ProbeJob(
        package=str(folder), component="unet", inputs=str(given), outputs=str(made), backend=backend
    )
    for _ in RunnerSession(python=python).events(job):
        pass
    for name, expected in EXPECTED.items():
        np.testing.assert_allclose(np.load(made / f"{name}.npy"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.peers
def test_tflite_runtime_computes_the_same(tmp_path: Path) -> None:
    python = str(tflite_runtime_python())
    probe(cut(tmp_path / "package"), HostBackend(name="tflite_runtime"), tmp_path, python)


@pytest.mark.peers
def test_tflite_runtime_refuses_a_recipe_with_int8_weights_by_its_name(tmp_path: Path) -> None:
    from edgegen.core.errors import ConfigError

    folder, python = whole(tmp_path / "package", storage="int8"), str(tflite_runtime_python())
    with pytest.raises(ConfigError, match="int8 weights, and the package's is 'mine'") as caught:
        probe(folder, HostBackend(name="tflite_runtime"), tmp_path, python)
    assert "ai_edge_litert" in caught.value.hint


def test_litert_takes_a_recipe_with_int8_weights(tmp_path: Path) -> None:
    folder = whole(tmp_path, storage="int8")
    assert load_package(folder).component("unet").storages == {"int8"}
    assert run(folder, litert()).keys() == OUTPUTS.keys()


def test_the_types_of_a_recipes_rules_count(tmp_path: Path) -> None:
    write_tflite(tmp_path / "unet/model.tflite", INPUTS, LAYERS, list(OUTPUTS))
    rules = [{"component": "unet", "storage": "int8"}, {"layers": "*.norm"}]
    write_manifest(tmp_path, "tflite", "unet/model.tflite", INPUTS, OUTPUTS, rules=rules)
    assert load_package(tmp_path).component("unet").storages == {"float32", "int8"}
