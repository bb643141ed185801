"""Holds the Core ML exporter against torch, through the executor, and against coremltools."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.backends import coreml_tensors
from edgegen_runner.package import Component as RunnerComponent

from edgegen.core.errors import ExportError
from edgegen.core.model import Component
from edgegen.core.profile import Attention
from edgegen.core.recipe import Recipe, Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.exporters.coreml.interface import compiled_name, renamed_by
from edgegen.mil.executor.program import MilProgram
from edgegen.mil.mlpackage import load_model
from tests.contracts.source_tree import HOST, imports_of, modules
from tests.exporters.harness import (
    OTHER_COMPONENTS,
    SOME_FAMILIES,
    TOLERANCE,
    Heard,
    TinyPipeline,
    export_component,
    lowest_psnr_db,
)

TARGET = load_target("coreml")


def export(
    folder: Path,
    name: str,
    destination: Path,
    recipe: Recipe | str = "fp32",
    **options: Any,
) -> tuple[Component, Heard, list[Path]]:
    """Export a component; return it, what was heard, and its model packages in order."""
    done = export_component("coreml", folder, name, destination, recipe, **options)
    packages = sorted(destination.glob("*.mlpackage"))
    assert packages[0].name == done.result.path
    written = sum(
        file.stat().st_size for path in packages for file in path.rglob("*") if file.is_file()
    )
    manifests = sum((path / "Manifest.json").stat().st_size for path in packages)
    assert done.result.storage_bytes == written - manifests
    return done.component, done.heard, packages


def compare(
    folder: Path, component: Component, packages: list[Path], *, rounds: bool = False
) -> float:
    """Return the lowest PSNR of any output, through the names that the runner uses."""
    programs = [MilProgram(package, rounds=rounds) for package in packages]
    known = RunnerComponent(
        component.name, component.role, packages[0], {}, {}, natives=renamed_by(component)
    )

    def compute(values: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = coreml_tensors.feeds(known, values)
        for program in programs:
            found.update(program.run({name: found[name] for name in program.inputs}))
        names = [tensor.name for tensor in component.outputs]
        return list(coreml_tensors.results(known, found, names).values())

    return lowest_psnr_db(folder, component, compute)


def types_of(package: Path) -> list[str]:
    model, _ = load_model(package)
    function = model.program.functions["main"]
    return [
        operation.type for operation in function.block_specializations[function.opset].operations
    ]


@pytest.mark.parametrize(
    "attention", ["split-einsum", pytest.param("original", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("family", SOME_FAMILIES)
def test_every_familys_denoiser_computes_what_torch_computes(
    family: str, attention: Attention, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    unet, heard, packages = export(folder, "unet", tmp_path, attention=attention)
    assert [package.name for package in packages] == ["Unet.mlpackage"]
    assert compare(folder, unet, packages) > 110
    assert heard.steps == ["toolkits", "graph", "weights"]
    assert heard.done_bytes == heard.total_bytes > 0
    if family == "sdxl":
        assert ("einsum" in types_of(packages[0])) == (attention == "split-einsum")


@pytest.mark.parametrize(("family", "name"), OTHER_COMPONENTS)
def test_every_other_component_computes_what_torch_computes(
    family: str, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    component, _, packages = export(folder, name, tmp_path)
    assert packages[0].stem == compiled_name(component)
    assert compare(folder, component, packages) > 110


@pytest.mark.parametrize(
    ("recipe", "minimum_os", "least_db"),
    [
        ("mixed", 16, 18),
        ("int4", 26, 12),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("fp16", 16, 50),
                ("fp16", 17, 50),
                ("fp16", 18, 50),
                ("int8", 16, 35),
                ("int8", 18, 35),
                ("palette8", 17, 35),
                ("palette6", 16, 25),
                ("palette4", 18, 15),
                ("palette4-grouped", 18, 15),
                ("int4-sensitive", 18, 15),
                ("palette4-sensitive", 16, 18),
                ("palette3-sensitive", 18, 12),
                ("palette3", 18, 10),
                ("palette2", 16, 8),
                ("palette1", 18, 5),
            )
        ),
    ],
)
def test_every_recipe_is_as_near_as_its_bits_allow_and_apples_reader_reads_it(
    recipe: str, minimum_os: int, least_db: float, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    unet, _, packages = export(folder, "unet", tmp_path, recipe, minimum_os=minimum_os)
    assert compare(folder, unet, packages, rounds=True) > least_db
    ct = pytest.importorskip("coremltools")
    spec = ct.utils.load_spec(str(packages[0]))
    assert spec.specificationVersion == min(minimum_os, 18) - 9
    assert ct.models.MLModel(str(packages[0]), skip_model_load=True).get_spec() is not None


@pytest.mark.parametrize(
    ("minimum_os", "attention"),
    [
        (17, "split-einsum"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (16, "original"),
                (16, "split-einsum"),
                (17, "original"),
                (18, "original"),
                (18, "split-einsum"),
            )
        ),
    ],
)
def test_coremltools_checks_every_type_and_shape_of_the_program(
    minimum_os: int, attention: Attention, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    pytest.importorskip("coremltools")
    from coremltools.converters.mil.frontend.milproto.load import load as load_milproto

    folder = tiny_pipeline("sd15")
    for name in ("text_encoder", "unet", "vae_decoder", "vae_encoder"):
        _, _, packages = export(
            folder, name, tmp_path / name, "fp16", minimum_os=minimum_os, attention=attention
        )
        import coremltools as ct

        spec = ct.utils.load_spec(str(packages[0]))
        # Builds every operation anew: its types and shapes are inferred and have to be ours.
        program = load_milproto(
            spec,
            specification_version=spec.specificationVersion,
            file_weights_dir=str(packages[0] / "Data/com.apple.CoreML/weights"),
        )
        _, declared = _declared_outputs(packages[0])
        inferred = {
            output.name: tuple(output.shape)
            for operation in program.functions["main"].operations
            for output in operation.outputs
        }
        assert inferred
        for output, shape in inferred.items():
            if output in declared:
                assert tuple(int(axis) for axis in shape) == declared[output], output


def _declared_outputs(package: Path) -> tuple[str, dict[str, tuple[int, ...]]]:
    from edgegen.mil.values import shape_of

    model, _ = load_model(package)
    function = model.program.functions["main"]
    block = function.block_specializations[function.opset]
    return function.opset, {
        output.name: shape_of(output.type)[1]
        for operation in block.operations
        for output in operation.outputs
    }


def test_a_program_cut_in_two_gives_the_same_result_as_the_whole(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, _, whole = export(folder, "unet", tmp_path / "whole", "fp16")
    size = (whole[0] / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    _, heard, chunks = export(
        folder, "unet", tmp_path / "cut", "fp16", file_limit_bytes=int(size * 0.6)
    )
    assert [chunk.name for chunk in chunks] == ["UnetChunk1.mlpackage", "UnetChunk2.mlpackage"]
    assert heard.done_bytes == heard.total_bytes
    sizes = [
        (chunk / "Data/com.apple.CoreML/weights/weight.bin").stat().st_size for chunk in chunks
    ]
    assert max(sizes) < 0.6 * size
    together, alone = [MilProgram(chunk) for chunk in chunks], MilProgram(whole[0])
    random = np.random.default_rng(0)
    inputs = {
        name: random.normal(size=shape).astype(np.float32)
        for name, (_, shape) in alone.inputs.items()
    }
    values = dict(inputs)
    for program in together:
        values.update(program.run({name: values[name] for name in program.inputs}))
    np.testing.assert_array_equal(values["noise_pred"], alone.run(inputs)["noise_pred"])


@pytest.mark.parametrize(("name", "limit"), [("unet", 1000), ("vae_decoder", 1000)])
def test_what_cannot_be_cut_below_the_limit_is_refused(
    name: str, limit: int, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="limit of a file"):
        export(tiny_pipeline("sd15"), name, tmp_path, "fp16", file_limit_bytes=limit)


APPLE = {
    ("sd15", "text_encoder"): ({"input_ids": (1, 77)}, ["last_hidden_state", "pooled_outputs"]),
    ("sdxl", "text_encoder_2"): ({"input_ids": (1, 77)}, ["hidden_embeds", "pooled_outputs"]),
    ("sd15", "unet"): (
        {"sample": (2, 4, 8, 8), "timestep": (2,), "encoder_hidden_states": (2, 32, 1, 77)},
        ["noise_pred"],
    ),
    ("sd15", "vae_decoder"): ({"z": (1, 4, 8, 8)}, ["image"]),
    ("sd15", "vae_encoder"): ({"z": (1, 3, 64, 64)}, ["latent"]),
}
"""What Apple's Swift package feeds and reads, from its sources."""


@pytest.mark.parametrize(("family", "name"), APPLE)
def test_inputs_and_outputs_are_those_of_apples_swift_package(
    family: str, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    _, _, packages = export(tiny_pipeline(family), name, tmp_path, "fp16")
    model, _ = load_model(packages[0])
    inputs, outputs = APPLE[family, name]
    assert model.description is not None
    found = {
        feature.name: tuple(feature.type.multi_array.shape) for feature in model.description.input
    }
    assert list(found) == list(inputs)
    assert {len(shape) for shape in found.values()} == {len(shape) for shape in inputs.values()}
    assert [feature.name for feature in model.description.output] == outputs
    for feature in (*model.description.input, *model.description.output):
        assert feature.type.multi_array.data_type == 65568  # float32


def test_layers_that_a_rule_names_compute_and_store_otherwise(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(
        load_recipe("palette4", TARGET),
        rules=(Rule(layers="mid_block*", storage="float32", compute="float32"),),
        tolerance=TOLERANCE,
    )
    folder = tiny_pipeline("sd15")
    unet, _, packages = export(folder, "unet", tmp_path, recipe)
    model, _ = load_model(packages[0])
    function = model.program.functions["main"]
    operations = function.block_specializations[function.opset].operations
    by_name = {operation.outputs[0].name: operation for operation in operations}
    kept = by_name["mid_block_resnets_0_conv1_weight"]
    assert kept.type == "const"
    assert kept.outputs[0].type.tensor.data_type == 11
    assert by_name["conv_in_weight"].type in ("const", "constexpr_lut_to_dense")
    assert compare(folder, unet, packages) > 10


def test_no_module_that_writes_or_reads_programs_imports_coremltools_or_protobuf() -> None:
    imported = {
        found.module
        for name, path in modules(HOST).items()
        if name.startswith(("edgegen.mil", "edgegen.exporters.coreml"))
        for found in imports_of(name, path)
    }
    assert imported
    assert not [name for name in imported if name.startswith(("coremltools", "google"))]


def test_writing_and_reading_work_without_coremltools_and_protobuf(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("coremltools", "google.protobuf"):  # an import of them raises ImportError
        monkeypatch.setitem(sys.modules, name, None)
    folder = tiny_pipeline("ddim")
    unet, _, packages = export(folder, "unet", tmp_path, "fp16")
    assert compare(folder, unet, packages) > 50
