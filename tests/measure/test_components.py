"""Components of a TFLite package by a benchmark_model that says what a real one said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.codec import load_json
from edgegen.core.errors import ConfigError, RunnerError
from edgegen.core.package import PackageManifest
from edgegen.devices.device import Device
from edgegen.measure.benchmark_model import BenchmarkModelOptions
from edgegen.measure.components import calls_in_an_image, measure_components
from tests.devices.stand_ins import OtherMachine, device
from tests.tiny_packages import change_manifest, onnx_package

RECORDED = Path(__file__).parent / "data" / "benchmark_model"


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Device]:
    with device(OtherMachine(tmp_path / "home")) as found:
        yield found


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose files are named as TFLite's; the played tool does not read them."""
    folder = onnx_package(tmp_path / "package")
    manifest = json.loads((folder / "edgegen.json").read_text())
    for component in manifest["components"]:
        before = folder / component["path"]
        after = before.with_suffix(".tflite")
        before.rename(after)
        for file in manifest["files"]:
            if file["path"] == component["path"]:
                file["path"] = after.relative_to(folder).as_posix()
        component["path"] = after.relative_to(folder).as_posix()
    change_manifest(
        folder, components=manifest["components"], files=manifest["files"], target="tflite"
    )
    return folder


def tool(folder: Path, recording: str) -> Path:
    path = folder / "benchmark_model"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\ncat {RECORDED / recording}\n')
    return path


def test_each_component_that_an_image_calls_is_run_on_the_device(
    connected: Device, package: Path, tmp_path: Path
) -> None:
    program = tool(tmp_path, "cpu.txt")
    found = measure_components(
        package, connected, str(program), BenchmarkModelOptions(threads=2), steps=7, guidance=1.0
    )
    calls = {each.component: each.calls for each in found.components}
    assert calls == {"text_encoder": 1, "unet": 7, "vae_decoder": 1}
    one = found.components[0].result.inference.mean_ms / 1e3
    assert found.sum_s == pytest.approx(9 * one)
    lines = (tmp_path / "calls").read_text().splitlines()
    assert len(lines) == 3
    assert all("--num_threads=2" in line for line in lines)
    home = connected.agent.root
    assert all(f"--graph={home}/packages/" in line for line in lines)


def test_a_graph_that_fell_back_to_the_cpu_fails_the_run(
    connected: Device, package: Path, tmp_path: Path
) -> None:
    program = tool(tmp_path, "gpu_none.txt")
    with pytest.raises(RunnerError, match="ran on the CPU, not on the gpu"):
        measure_components(
            package, connected, str(program), BenchmarkModelOptions(accelerator="gpu")
        )


def test_a_package_of_another_format_is_refused(connected: Device, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="runs TFLite graphs"):
        measure_components(
            onnx_package(tmp_path / "onnx"), connected, "/bin/true", BenchmarkModelOptions()
        )


def test_a_tool_that_is_neither_here_nor_a_path_there_is_refused(
    connected: Device, package: Path
) -> None:
    with pytest.raises(ConfigError, match="nor a path on the device"):
        measure_components(package, connected, "benchmark_model", BenchmarkModelOptions())


def test_a_graph_of_one_row_is_called_twice_for_guidance(package: Path) -> None:
    from dataclasses import replace

    unet = next(
        each.spec
        for each in load_json(PackageManifest, package / "edgegen.json").components
        if each.spec.role == "denoiser"
    )
    fixed = replace(unet, inputs=(replace(unet.inputs[0], shape=(1, 4, 8, 8)), *unet.inputs[1:]))
    assert calls_in_an_image(unet, steps=10, predictions=2) == 10
    assert calls_in_an_image(fixed, steps=10, predictions=2) == 20
    assert calls_in_an_image(fixed, steps=10, predictions=1) == 10


def test_the_command_says_that_a_sum_is_no_latency(
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    program = tool(tmp_path, "cpu.txt")
    assert run(["bench", str(package), "--benchmark-model", str(program)]) == 0
    shown = capsys.readouterr().out
    assert "Sum of the components" in shown
    assert "no image's latency" in shown
