"""The runner's reading of `.npy` files, with numpy as the judge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.arrays import load_array
from edgegen_runner.errors import RunnerFailure

HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }"


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    body = header.encode("latin-1")
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(body).to_bytes(2 * min(version, 2), "little")
        + body
        + data
    )


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i8", ">i4", "u1", "?"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4), (1, 4, 8, 8)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_numpy_saves_is_read(dtype: str, shape: Any, order: Any, tmp_path: Path) -> None:
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    read = load_array(tmp_path / "a.npy")
    assert read.dtype == np.dtype(dtype).newbyteorder("=")
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04",
        npy("x" * 60_000),
        npy("(" * 60_000),
        npy(HEADER % ("<f4", "1,"), b"\0" * 3),
        npy(HEADER % ("<f4", "1,"), b"\0" * 5),
        npy(HEADER % ("<f4", "-1,"), b""),
        npy(HEADER % ("<f4", "999999999999999999, 999999999999999999"), b""),
        npy(HEADER % ("<f4", "0, 999999999999999999, 999999999999999999"), b""),
        npy(HEADER % ("<f4", "1, " * 33), b"\0" * 4),
        npy(HEADER % ("<f4", "True,"), b"\0" * 4),
        npy(HEADER % ("|O", "1,"), b"\0" * 8),
        npy(HEADER % ("<b4", "1,"), b"\0" * 4),
        npy(HEADER % ("<c8", "1,"), b"\0" * 8),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 4),
        npy(HEADER % ("<f4", "1,"), b"\0" * 4, version=9),
        npy(HEADER % ("<f4", "1,"), b"\0" * 4, version=2)[:12],
    ],
)
def test_what_is_no_array_of_numbers_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(RunnerFailure, match="cannot be read") as caught:
        load_array(tmp_path / "a.npy", "bad-package")
    assert caught.value.kind == "bad-package"


def test_a_file_of_many_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    shape = 1 << 33
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(npy(HEADER % ("<f4", f"{shape},")))
        file.truncate(file.tell() + 4 * shape)
    with pytest.raises(RunnerFailure, match="more than 1,073,741,824"):
        load_array(tmp_path / "a.npy")


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(RunnerFailure, match="cannot be read"):
            load_array(path)
