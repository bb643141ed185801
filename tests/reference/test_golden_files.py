from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import IntegrityError
from edgegen.core.model import Component, TensorSpec
from edgegen.reference import golden


def write_header(path: Path, header: str, payload: bytes) -> None:
    text = header.encode("latin1") + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + payload)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_an_array_comes_back_as_it_was_written(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    golden.write_array(tmp_path, "a.npy", value)
    read = golden.read_array(tmp_path, "a.npy")
    assert (read.dtype, read.shape) == (value.dtype, shape)
    assert np.array_equal(read, value)
    assert np.array_equal(np.load(tmp_path / "a.npy", allow_pickle=False), value)


def test_a_transposed_array_is_written_in_c_order(tmp_path: Path) -> None:
    value = np.arange(6, dtype=np.float32).reshape(2, 3).T
    golden.write_array(tmp_path, "a.npy", value)
    assert np.array_equal(golden.read_array(tmp_path, "a.npy"), value)


def test_an_array_that_numpy_wrote_in_fortran_order_is_read(tmp_path: Path) -> None:
    value = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.save(tmp_path / "a.npy", value)
    assert np.array_equal(golden.read_array(tmp_path, "a.npy"), value)


def test_no_other_type_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="float64"):
        golden.write_array(tmp_path, "a.npy", np.zeros(2))


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("unpickled",))

    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Bomb()))
    np.save(tmp_path / "object.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    for name in ("plain.npy", "object.npy"):
        with pytest.raises(IntegrityError, match=name):
            golden.read_array(tmp_path, name)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
        "{'descr': '<f4', 'shape': (2,), }",
        "__import__('os')",
    ],
)
def test_a_header_that_the_file_does_not_bear_out_is_refused(header: str, tmp_path: Path) -> None:
    write_header(tmp_path / "a.npy", header, bytes(8))
    with pytest.raises(IntegrityError, match=r"a\.npy"):
        golden.read_array(tmp_path, "a.npy")


def test_a_header_that_the_file_bears_out_is_read(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    write_header(tmp_path / "a.npy", header, bytes(8))
    assert golden.read_array(tmp_path, "a.npy").tolist() == [0, 0]


def test_an_array_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    golden.write_array(tmp_path, "a.npy", np.zeros(1, np.float32))
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "link.npy").symlink_to(tmp_path / "a.npy")
    for name in ("../a.npy", "link.npy"):
        with pytest.raises(IntegrityError, match="leaves the folder"):
            golden.read_array(tmp_path / "case", name)


def test_a_missing_output_of_a_probe_is_an_error_that_names_it(tmp_path: Path) -> None:
    axis = TensorSpec(name="x", dtype="float32", shape=("batch",))
    outputs = tuple(TensorSpec(name=n, dtype="float32", shape=("batch",)) for n in ("y", "z.0"))
    component = Component(
        name="net",
        role="denoiser",
        folder="net",
        class_name="Net",
        inputs=(axis,),
        outputs=outputs,
        parameters=0,
    )
    for name in ("net.in.x.npy", "net.out.y.npy"):
        golden.write_array(tmp_path, name, np.ones(2, np.float32))
    with pytest.raises(IntegrityError, match=r"net\.out\.z\.0\.npy is missing"):
        golden.read_probe(tmp_path, component)
    golden.write_array(tmp_path, "net.out.z.0.npy", np.zeros(2, np.float32))
    probe = golden.read_probe(tmp_path, component)
    assert [*probe.inputs, *probe.outputs] == ["x", "y", "z.0"]


def test_a_trajectory_with_a_gap_ends_before_it(tmp_path: Path) -> None:
    for index in (0, 1, 3):
        golden.write_array(tmp_path, golden.trajectory_name(index), np.zeros(1, np.float32))
    assert golden.count_trajectory(tmp_path) == 2
