"""Broken and hostile Core ML packages: their manifests, programs, arguments and weights."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.mil import schema
from edgegen.mil.executor.decompression import DECOMPRESSIONS
from edgegen.mil.executor.operators import OPERATORS
from edgegen.mil.executor.program import MilProgram
from edgegen.mil.mlpackage import load_model, save_model
from edgegen.mil.types import BY_DTYPE, TYPES
from edgegen.mil.values import immediate, named, string
from tests.fuzz.harness import case, fuzzing
from tests.mil.test_executor_operators import CASES, FOLDED
from tests.mil.test_program import build

DECOMPRESSED: list[tuple[str, dict[str, Any]]] = [
    (
        "constexpr_affine_dequantize",
        {
            "quantized_data": np.zeros((4, 3), np.int8),
            "scale": np.ones(4, np.float16),
            "zero_point": np.zeros(4, np.int8),
            "axis": np.int32(0),
        },
    ),
    (
        "constexpr_blockwise_shift_scale",
        {"data": np.zeros((4, 6), np.int8), "scale": np.ones((4, 2), np.float16)},
    ),
    ("constexpr_cast", {"source_val": np.ones(3, np.float16), "output_dtype": "fp32"}),
    (
        "constexpr_lut_to_dense",
        {"indices": np.zeros((2, 2), np.uint8), "lut": np.ones((1, 1, 4, 1), np.float16)},
    ),
    (
        "constexpr_lut_to_dense",
        {
            "indices": np.zeros(3, np.uint8),
            "lut": np.ones(4, np.float16),
            "shape": np.array([3, 4], np.uint32),
        },
    ),
    (
        "constexpr_sparse_to_dense",
        {
            "nonzero_data": np.ones(2, np.float16),
            "mask": np.array([3], np.uint8),
            "shape": np.array([8], np.uint32),
        },
    ),
]
OPERATIONS = [*FOLDED, *CASES, *DECOMPRESSED]
WHOLE_NUMBERS = st.sampled_from((0, 1, -1, 2, 7, 64, 2**16, 10**6, 2**31 - 1, -(2**31)))


def arrays() -> st.SearchStrategy[Any]:
    shapes = st.lists(st.sampled_from((0, 1, 2, 3, 5)), max_size=6)
    kinds = st.sampled_from(("int32", "float32", "bool", "float16", "uint8", "int64"))
    numbers = st.sampled_from((0.0, 1.0, -1.0, 3.0, 1e30, float("nan"), float("inf")))

    def make(shape: list[int], kind: str, number: float) -> Any:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.full(shape, number).astype(kind)

    return st.builds(make, shapes, kinds, numbers)


ODD_VALUES = st.one_of(
    arrays(),
    st.lists(WHOLE_NUMBERS, max_size=6).map(lambda numbers: np.array(numbers, np.int32)),
    WHOLE_NUMBERS.map(np.int32),
    st.sampled_from(("", "same", "constant", "fp16", "ij,jk->ik", "a" * 60, "...", "ﬀ")),
    st.lists(arrays(), max_size=3),
)


def to_value(value: Any) -> schema.Value:
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list | tuple):
        items = schema.ListValue(values=[to_value(item) for item in value])
        return schema.Value(immediate=schema.ImmediateValue(list=items))
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if array.dtype == np.int64 and array.dtype.newbyteorder("<") not in BY_DTYPE:
        array = array.astype(np.int32)
    return immediate(array)


@st.composite
def operations(draw: st.DrawFn) -> schema.Operation:
    """Draw an operation some of whose arguments are something else than they should be."""
    op_type, inputs = draw(st.sampled_from(OPERATIONS))
    changed = dict(inputs)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted({*inputs, "axis", "axes", "shape"})))
        if draw(st.integers(0, 5)) == 0:
            changed.pop(name, None)
        else:
            changed[name] = draw(ODD_VALUES)
    shape = draw(st.lists(st.sampled_from((0, 1, 2, 3, 4, 5, 10**6)), max_size=5))
    kind = draw(st.sampled_from(sorted(TYPES)))
    return schema.Operation(
        type=op_type,
        inputs={
            name: schema.Argument(arguments=[schema.Binding(value=to_value(value))])
            for name, value in changed.items()
        },
        outputs=[named("z", kind, shape)] * draw(st.sampled_from((1, 1, 1, 0, 2))),
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("whole"))


def run(package: Path) -> None:
    program = MilProgram(package)
    shapes = {name: shape for name, (_, shape) in program.inputs.items()}
    program.run({name: np.ones(np.minimum(shapes[name], 64), np.float32) for name in shapes})


@fuzzing()
@given(operation=operations())
def test_an_operation_with_odd_arguments_ends_orderly(
    operation: schema.Operation, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("operation") / "Small.mlpackage"
    shutil.copytree(package, folder)
    model, _ = load_model(folder)
    assert model.program is not None
    model.program.functions["main"].block_specializations["CoreML6"].operations.append(operation)
    save_model(folder, model)
    with case("mil arguments"):
        run(folder)
    shutil.rmtree(folder)


def messages(message: Any) -> list[Any]:
    """Return a message and all messages in it."""
    found = [message]
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        parts = (
            value
            if isinstance(value, list)
            else value.values()
            if isinstance(value, dict)
            else [value]
        )
        for part in parts:
            if dataclasses.is_dataclass(part):
                found += messages(part)
    return found


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[int, int, Any]]:
    """Draw changes of a program: which message, which field, and what becomes of it."""
    odd = st.sampled_from((None, "", "x", "one", 0, -1, 1, 2**62, "empty", "twice", "last"))
    return draw(
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 5), odd), min_size=1, max_size=4)
    )


def change(model: schema.Model, where: int, which: int, value: Any) -> None:
    """Change one field of a message to something that its type can hold."""
    known = messages(model)
    message = known[where % len(known)]
    fields = dataclasses.fields(message)
    field = fields[which % len(fields)]
    present = getattr(message, field.name)
    if isinstance(present, list | dict):
        if value == "twice" and isinstance(present, list):
            present.extend(present[:100])
        elif value == "last" and present:
            present.pop(next(reversed(present)) if isinstance(present, dict) else -1)
        else:
            present.clear()
    elif isinstance(present, int | str) and isinstance(
        value, str if isinstance(present, str) else int
    ):
        setattr(message, field.name, value)
    elif dataclasses.is_dataclass(present):
        setattr(message, field.name, None)


@fuzzing()
@given(changed=changes())
def test_a_changed_program_ends_orderly(
    changed: list[tuple[int, int, Any]], package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("program") / "Small.mlpackage"
    shutil.copytree(package, folder)
    model, _ = load_model(folder)
    for where, which, value in changed:
        change(model, where, which, value)
    save_model(folder, model)
    with case("mil programs"):
        run(folder)
    shutil.rmtree(folder)


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], int]:
    name = draw(st.sampled_from(("model.mlmodel", "weight.bin", "Manifest.json")))
    bytes_ = st.tuples(st.integers(0, 5_000), st.integers(0, 255))
    return name, draw(st.lists(bytes_, min_size=1, max_size=5)), draw(st.integers(0, 5_000))


@fuzzing()
@given(spoiling=spoiled(), is_cut=st.booleans())
def test_a_package_with_changed_bytes_ends_orderly(
    spoiling: tuple[str, list[tuple[int, int]], int],
    is_cut: bool,
    package: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name, places, length = spoiling
    folder = tmp_path_factory.mktemp("bytes") / "Small.mlpackage"
    shutil.copytree(package, folder)
    (path,) = folder.rglob(name)
    data = bytearray(path.read_bytes())
    for place, byte in places:
        data[place % len(data)] = byte
    path.write_bytes(data[: length % len(data)] if is_cut else data)
    with case("mil bytes"):
        run(folder)
    shutil.rmtree(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@fuzzing()
@given(root=JSON, entry=JSON, path=JSON, kind=st.sampled_from(("root", "entries", "entry", "path")))
@example(root=[1], entry={}, path="", kind="root")
@example(root={}, entry={}, path="", kind="root")
@example(root="r", entry={}, path="\ud800", kind="path")
@example(root="r", entry={}, path="a\0b", kind="path")
@example(root="r", entry=[], path="x", kind="entry")
def test_a_changed_manifest_ends_orderly(
    root: Any, entry: Any, path: Any, kind: str, package: Path, tmp_path_factory: Any
) -> None:
    import json

    entries: Any = {"r": {"path": path if kind == "path" else "com.apple.CoreML/model.mlmodel"}}
    if kind == "entry":
        entries = {"r": entry}
    manifest = {
        "rootModelIdentifier": root if kind == "root" else "r",
        "itemInfoEntries": entry if kind == "entries" else entries,
    }
    folder = tmp_path_factory.mktemp("manifest") / "Small.mlpackage"
    shutil.copytree(package, folder)
    (folder / "Manifest.json").write_text(json.dumps(manifest))
    with case("mil manifests"):
        run(folder)
    shutil.rmtree(folder)


def test_every_operation_is_fuzzed() -> None:
    assert {name for name, _ in OPERATIONS} == {*OPERATORS, *DECOMPRESSIONS}
