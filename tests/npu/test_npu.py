"""Packages for phones' NPUs, by Qualcomm's compiler and its emulator (`make test-npu`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest
from edgegen_runner.contexts import CONTEXTS, context_of, read_context

from edgegen.core.chips import Chip, list_chips, load_chip
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.manifest import load_manifest
from edgegen.measure.plan import BenchSettings
from edgegen.measure.plan import plan as plan_bench
from edgegen.measure.session import measure
from edgegen.models.source import resolve
from edgegen.packaging.batch import Built, build_all
from edgegen.packaging.candidate import Npu
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import plan_package
from edgegen.packaging.verify import verify_package
from edgegen.parity.gate import check_package
from edgegen.parity.runner_side import RunnerSide
from tests.conftest import TinyPipeline
from tests.contracts.test_exporters_contract import FAMILIES

pytestmark = pytest.mark.npu
GEN_3 = load_chip("snapdragon-8-gen-3")


def graph(path: Path, op_type: str, *, rank: int = 4, **attributes: int) -> Path:
    """Write a graph of one node, float32, opset 18, and return its path."""
    shape = ir.Shape((1, 8, 8, 8)[-rank:])
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=shape)
    node = ir.node(op_type, [x], attributes=attributes or None, name=f"layer.of.mine/{op_type}_0")
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = shape
    made = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}, name="graph")
    ir.save(ir.Model(made, ir_version=9), path)
    return path


COMPILE = """
import sys
from pathlib import Path
from edgegen.core.chips import load_chip
from edgegen.core.errors import ExportError
from edgegen.exporters.onnx.contexts import compile_graph
try:
    made = compile_graph(
        Path(sys.argv[1]), Path(sys.argv[2]), load_chip(sys.argv[3]), allow_processor=False
    )
    print("onnxruntime-qnn", made.sdk[:3], made.vtcm_bytes, made.on_processor)
except ExportError as error:
    print(f"ExportError: {error.message} {error.hint}")
"""


def compiled(graph: Path, destination: Path, chip: Chip) -> str:
    """Compile in a process of its own, as the exporter does, and return what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(graph), str(destination), chip.name],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("chip", [it for it in list_chips() if it.float16], ids=lambda it: it.name)
def test_the_compiler_writes_what_the_table_says_of_a_chip(chip: Chip, tmp_path: Path) -> None:
    told = compiled(graph(tmp_path / "g.onnx", "Softmax"), tmp_path / "c.onnx", chip)
    said = read_context(context_of(tmp_path / "c.onnx"))
    assert (said.part, said.architecture) == (chip.parts[0], chip.architecture)
    assert said.vtcm_bytes == chip.vtcm_mb << 20
    assert told.startswith(f"onnxruntime-qnn v2. {chip.vtcm_mb << 20} 0"), told


def test_a_graph_that_the_npu_cannot_take_names_its_layer(tmp_path: Path) -> None:
    told = compiled(graph(tmp_path / "g.onnx", "Acosh"), tmp_path / "c.onnx", GEN_3)
    assert told.startswith("ExportError: The NPU of Snapdragon 8 Gen 3 takes no node"), told
    assert "Choose another recipe" in told


def test_a_node_that_is_left_to_the_processor_is_counted_and_computed_there(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np, onnx, onnxruntime
from edgegen_runner.backends import BackendOptions
from edgegen_runner.backends.onnxruntime_qnn import OnnxRuntimeQnnBackend
from edgegen_runner.errors import RunnerFailure
from edgegen_runner.package import Compiled, Component, Tensor
from edgegen.core.chips import load_chip
from edgegen.exporters.onnx.contexts import compile_graph
nodes = [onnx.helper.make_node(op, [a], [b], name=f"l{b}/{op}_0")
         for op, a, b in (("Softmax", "x", "a"), ("Asinh", "a", "b"), ("Softmax", "b", "y"))]
ends = [onnx.helper.make_tensor_value_info(it, 1, (1, 8, 8, 8)) for it in "xy"]
made = onnx.helper.make_model(
    onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:]),
    opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
onnx.save(made, "g.onnx")
chip = load_chip("snapdragon-8-gen-3")
left = compile_graph(Path("g.onnx"), Path("c.onnx"), chip, allow_processor=True).on_processor
x = np.random.default_rng(0).normal(size=(1, 8, 8, 8)).astype(np.float32)
expected = onnxruntime.InferenceSession("g.onnx").run(None, {"x": x})[0]
port = lambda name: {name: Tensor(name, "float32", (1, 8, 8, 8))}
backend = OnnxRuntimeQnnBackend(BackendOptions(name="onnxruntime_qnn", threads=1))
for told in (left, 0):
    compiled = Compiled(chip.name, chip.parts[0], chip.architecture, chip.soc_model, told)
    component = Component("c", "denoiser", Path("c.onnx"), port("x"), port("y"), compiled=compiled)
    try:
        session = backend.load(Path("c.onnx"), component)
        error = float(np.abs(session.run({"x": x})["y"] - expected).max())
        print(left, "CPUExecutionProvider" in session.providers, error < 1e-3)
    except RunnerFailure as failure:
        print(failure.kind, "CPU" in failure.message)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-2:] == ["1 True True", "runtime True"], done.stdout


@pytest.fixture(scope="module")
def built(tiny_pipeline: TinyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A tiny Stable Diffusion for 8 Gen 3, in fp16."""
    return build(str(tiny_pipeline("sd15")), "fp16", tmp_path_factory.mktemp("npu") / "sd15")


def build(
    model: str,
    recipe: str,
    destination: Path,
    chips: tuple[str, ...] = (GEN_3.name,),
    part_bytes: int | None = None,
) -> Built:
    plan = plan_package(
        read_facts(resolve(model)),
        target="onnx",
        destination=destination,
        recipe=recipe,
        npu=Npu(chips=chips),
        part_bytes=part_bytes,
    )
    (made,) = build_all([plan]).packages
    assert isinstance(made, Built), made
    return made


@pytest.mark.parametrize("recipe", ["fp16", "int8-static-a16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_compiled_whole_and_draws_torchs_image(
    family: str, recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    made = build(str(tiny_pipeline(FAMILIES[family])), recipe, tmp_path / "package")
    assert [it.on_processor for it in made.manifest.compiled] == [{}]
    assert made.evidence.emulated
    assert {it.layer for it in made.evidence.parity} == {"component", "trajectory", "image"}
    assert all(it.passed for it in made.evidence.parity)


def test_a_compiled_package_is_verified_and_says_that_it_is_emulated(built: Built) -> None:
    manifest = load_manifest(built.path)
    assert manifest.runs_as == CONTEXTS
    verified = verify_package(built.path)
    assert verified.run.passed
    assert verified.evidence.emulated
    for component in manifest.components:
        assert component.path == f"{component.spec.name}/model.onnx"
        assert component.storage_bytes == sum(
            path.stat().st_size for path in (built.path / component.spec.name).glob("model*")
        )


def test_what_is_emulated_is_never_timed(built: Built) -> None:
    with pytest.raises(ConfigError, match="only emulates the NPU"):
        measure(plan_bench(built.path, BenchSettings(images=1, restarts=1)))


@pytest.mark.parametrize("damage", ["of another chip", "cut short", "missing", "changed"])
def test_a_context_that_is_not_the_packages_is_refused(
    damage: str, built: Built, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(built.path, package)
    context = context_of(package / "unet" / "model.onnx")
    data = context.read_bytes()
    if damage == "of another chip":
        context.write_bytes(data.replace(b"soc_type=SM8650;arch=75", b"soc_type=SM8750;arch=79"))
    elif damage == "cut short":
        context.write_bytes(data[: len(data) // 8])
    elif damage == "missing":
        context.unlink()
    else:
        context.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError):
        verify_package(package)
    if damage == "cut short":  # its first part may name the chip: then the runtime refuses it
        run = check_package(package, load_manifest(package))
        failed = [it.why for it in run.checks if it.name.startswith("unet.")]
        assert failed
        assert all("the runner failed" in why for why in failed), failed
    elif damage != "changed":  # that the hash alone finds
        said = "compiled for SM8750 .V79" if damage == "of another chip" else "cannot be read"
        with pytest.raises(IntegrityError, match=said):
            check_package(package, load_manifest(package))


def test_two_builds_are_the_same_bytes_but_for_what_the_compiler_writes(
    built: Built, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    """Qualcomm's compiler writes some dozen bytes of a context anew each time."""

    def told(made: Built) -> dict[str, str | int]:
        return {
            it.path: it.size_bytes if it.path.endswith("_qnn.bin") else it.sha256
            for it in made.manifest.files
        }

    again = build(str(tiny_pipeline("sd15")), "fp16", tmp_path / "again")
    assert told(again) == told(built)


def test_a_graph_in_several_contexts_draws_as_in_one(
    tiny_pipeline: TinyPipeline, built: Built, tmp_path: Path
) -> None:
    """The limit leaves the UNet three contexts at least, the others one or more."""
    whole = context_of(built.path / "unet" / "model.onnx").stat().st_size
    made = build(str(tiny_pipeline("sd15")), "fp16", tmp_path / "parts", part_bytes=whole * 2 // 5)
    unet = made.path / "unet"
    assert (unet / "model.3.onnx").is_file()
    assert context_of(unet / "model.3.onnx").is_file()
    (compiled,) = made.manifest.compiled
    assert compiled.on_processor == {}
    assert compiled.contexts["unet"] >= 3
    found = {it.name: it.psnr_db for it in made.evidence.parity if it.layer == "component"}
    for check in built.evidence.parity:  # what crosses has 16 bits there as here
        if check.layer == "component":
            assert check.psnr_db is not None
            assert found[check.name] == pytest.approx(check.psnr_db, abs=0.5)
    (unet / "model.2.onnx").unlink()
    with pytest.raises(IntegrityError):
        verify_package(made.path)


def test_a_package_for_two_chips_is_compared_on_each_and_a_device_gets_one(
    tiny_pipeline: TinyPipeline, built: Built, tmp_path: Path
) -> None:
    elite = load_chip("snapdragon-8-elite")
    chips = (GEN_3.name, elite.name)
    made = build(str(tiny_pipeline("sd15")), "fp16", tmp_path / "both", chips)
    assert [(it.chip, it.folder) for it in made.manifest.compiled] == [(it, it) for it in chips]
    for chip in (GEN_3, elite):
        said = read_context(context_of(made.path / "unet" / chip.name / "model.onnx"))
        assert (said.part, said.architecture) == (chip.parts[0], chip.architecture)
        own = [it for it in made.evidence.parity if it.chip == chip.name]
        assert len(own) == len(built.evidence.parity)
        assert all(it.passed for it in own)
        files = {
            it.path.replace(f"/{chip.name}/", "/") for it in made.manifest.files_for(chip.name)
        }
        assert files == {it.path for it in built.manifest.files}
    digests = {it.path: it.sha256 for it in made.manifest.files}
    for file in built.manifest.files:  # what is shared, and the chip's own, are those of one chip's
        path = file.path
        if path.endswith(("model.onnx", "model_qnn.bin")):
            path = f"{path.rpartition('/')[0]}/{GEN_3.name}/{path.rpartition('/')[2]}"
        if path.endswith(".bin"):  # the compiler changes a few dozen bytes from run to run
            assert (made.path / path).stat().st_size == file.size_bytes
        else:
            assert digests[path] == file.sha256
    for folder in made.path.glob(f"*/{GEN_3.name}"):  # as a device of the other chip has it
        shutil.rmtree(folder)
    run = check_package(made.path, made.manifest, artifact=RunnerSide(made.path))
    assert run.passed
    with pytest.raises(IntegrityError):
        verify_package(made.path)
