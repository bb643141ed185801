"""Model packages that are damaged, foreign or hostile: each is refused, by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import IntegrityError, RunnerError
from edgegen.mil import schema
from edgegen.mil.executor.program import MilProgram
from edgegen.mil.mlpackage import load_model, save_model, weights_path
from edgegen.mil.values import immediate, in_file, named, string
from edgegen.mil.weight_file import write_weight_file

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def const(name: str, value: schema.Value, shape: tuple[int, ...]) -> schema.Operation:
    return schema.Operation(
        type="const",
        outputs=[named(name, "fp32", shape)],
        attributes={"name": string(name), "val": value},
    )


def operation(op_type: str, output: str, shape: tuple[int, ...], **inputs: str) -> schema.Operation:
    return schema.Operation(
        type=op_type,
        inputs={
            name: schema.Argument(arguments=[schema.Binding(name=value)])
            for name, value in inputs.items()
        },
        outputs=[named(output, "fp32", shape)],
        attributes={"name": string(output)},
    )


def build(
    folder: Path, change: Callable[[schema.Block], None] | None = None, **model: object
) -> Path:
    """Write a package that computes `x W^T + 1`, with a change."""
    package = folder / "Small.mlpackage"
    with write_weight_file(weights_path(package)) as file:
        offset = file.add(WEIGHT, "fp32")
    block = schema.Block(
        outputs=["y"],
        operations=[
            const("weight", in_file(offset, "fp32", (3, 4)), (3, 4)),
            const("one", immediate(np.float32(1)), ()),
            operation("linear", "product", (2, 3), x="x", weight="weight"),
            operation("add", "y", (2, 3), x="product", y="one"),
        ],
    )
    if change is not None:
        change(block)
    function = schema.Function(
        inputs=[named("x", "fp32", (2, 4))],
        opset="CoreML6",
        block_specializations={"CoreML6": block},
    )
    program = schema.Program(version=1, functions={"main": function})
    value = schema.Model(specification_version=7, program=program)
    save_model(package, dataclasses.replace(value, **model))
    return package


def run(package: Path) -> np.ndarray:
    return MilProgram(package).run({"x": np.ones((2, 4), np.float32)})["y"]


def test_a_program_computes(tmp_path: Path) -> None:
    program = MilProgram(build(tmp_path))
    assert program.inputs == {"x": ("fp32", (2, 4))}
    assert program.outputs == {"y": ("fp32", (2, 3))}
    np.testing.assert_array_equal(run(program._package), WEIGHT.sum(1) + np.ones((2, 1)))


@pytest.mark.parametrize("room", [0, WEIGHT.nbytes, WEIGHT.nbytes + 4])
def test_another_run_computes_what_the_first_did_whatever_was_kept(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.mil.executor.program.KEPT_BYTES", room)
    program = MilProgram(build(tmp_path))
    for factor in (1, 2, 3):
        x = factor * np.arange(8, dtype=np.float32).reshape(2, 4)
        np.testing.assert_array_equal(program.run({"x": x})["y"], x @ WEIGHT.T + 1)
    assert bool(program._kept) == (room == WEIGHT.nbytes + 4)


def test_weights_that_were_kept_are_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = MilProgram(build(tmp_path))
    x = np.ones((2, 4), np.float32)
    first = program.run({"x": x})["y"]

    def unwanted(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(program, "_read_blob", unwanted)
    np.testing.assert_array_equal(program.run({"x": x})["y"], first)


def test_a_result_in_float16_is_rounded_and_an_overflow_is_seen(tmp_path: Path) -> None:
    def in_half(block: schema.Block) -> None:
        for item in block.operations[2:]:
            item.outputs[0] = named(item.outputs[0].name, "fp16", (2, 3))

    package = build(tmp_path, in_half)
    big = {"x": np.full((2, 4), 30_000.0, np.float32)}
    assert np.isinf(MilProgram(package).run(big)["y"]).all()
    assert np.isfinite(MilProgram(package, rounds=False).run(big)["y"]).all()
    small = {"x": np.full((2, 4), 1 / 3, np.float32)}
    rounded, exact = (MilProgram(package, rounds=r).run(small)["y"] for r in (True, False))
    np.testing.assert_array_equal(rounded, rounded.astype(np.float16).astype(np.float32))
    assert not np.array_equal(rounded, exact)


def test_an_operation_that_nobody_knows_is_refused_by_name(tmp_path: Path) -> None:
    def strange(block: schema.Block) -> None:
        block.operations[3].type = "warp"
        block.operations[2].type = "fold_space"

    with pytest.raises(RunnerError, match="fold_space, warp") as caught:
        MilProgram(build(tmp_path, strange))
    assert "Core ML" in caught.value.hint


def test_a_program_that_takes_what_nothing_computes_is_refused(tmp_path: Path) -> None:
    def reordered(block: schema.Block) -> None:
        block.operations.reverse()

    with pytest.raises(IntegrityError, match="nothing computes"):
        MilProgram(build(tmp_path, reordered))


def test_an_output_that_is_not_computed_is_refused(tmp_path: Path) -> None:
    def missing(block: schema.Block) -> None:
        block.outputs.append("z")

    with pytest.raises(IntegrityError, match="'z' is not computed"):
        MilProgram(build(tmp_path, missing))


@pytest.mark.parametrize("shape", [(2, 4), (3, 2)])
def test_a_shape_that_is_declared_wrong_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    def wrong(block: schema.Block) -> None:
        block.operations[2].outputs[0] = named("product", "fp32", shape)

    with pytest.raises(IntegrityError, match="is declared"):
        run(build(tmp_path, wrong))


def test_shapes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    def transposed(block: schema.Block) -> None:
        value = block.operations[0].attributes["val"]
        offset = value.blob_file.offset if value.blob_file else 0
        block.operations[0] = const("weight", in_file(offset, "fp32", (4, 3)), (4, 3))

    with pytest.raises(IntegrityError, match="linear cannot be computed"):
        run(build(tmp_path, transposed))


@pytest.mark.parametrize(
    "path",
    [
        "@model_path/../../../../../etc/passwd",
        "/etc/passwd",
        "@model_path//etc/passwd",
        "weights/weight.bin",
        "@model_path/weights/none.bin",
    ],
)
def test_a_file_outside_of_the_package_is_not_read(path: str, tmp_path: Path) -> None:
    def elsewhere(block: schema.Block) -> None:
        blob = block.operations[0].attributes["val"].blob_file
        assert blob is not None
        blob.file_name = path

    with pytest.raises(IntegrityError):
        run(build(tmp_path, elsewhere))


def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    package = build(tmp_path)
    weights = weights_path(package)
    outside = tmp_path / "outside.bin"
    weights.rename(outside)
    weights.symlink_to(outside)
    with pytest.raises(IntegrityError, match="leaves"):
        run(package)


@pytest.mark.parametrize("length", [0, 63, 100, 128, 140])
def test_weights_that_are_cut_off_are_refused(length: int, tmp_path: Path) -> None:
    package = build(tmp_path)
    weights = weights_path(package)
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(IntegrityError, match=r"weight\.bin"):
        run(package)


def test_weights_whose_metadata_is_overwritten_are_refused(tmp_path: Path) -> None:
    package = build(tmp_path)
    weights = weights_path(package)
    data = bytearray(weights.read_bytes())
    data[64:68] = b"\0\0\0\0"
    weights.write_bytes(data)
    with pytest.raises(IntegrityError, match="no entry"):
        run(package)


@pytest.mark.parametrize("length", [0, 1, 50, 200])
def test_a_model_file_that_is_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    package = build(tmp_path)
    file = package / "Data/com.apple.CoreML/model.mlmodel"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(IntegrityError):
        MilProgram(package)


def test_a_model_that_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="no program"):
        MilProgram(build(tmp_path, program=None))


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"rootModelIdentifier": "A", "itemInfoEntries": {}},
        {"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": "../../x"}}},
        {"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": "com.apple.CoreML/none"}}},
        {"rootModelIdentifier": "A", "itemInfoEntries": []},
    ],
)
def test_a_manifest_that_names_no_model_of_its_own_is_refused(
    manifest: dict[str, object], tmp_path: Path
) -> None:
    package = build(tmp_path)
    (package / "Manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError):
        load_model(package)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b"):
        package = build(tmp_path / name)
        files = sorted(path for path in package.rglob("*") if path.is_file())
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]
