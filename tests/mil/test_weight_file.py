"""The file of weights, held against Apple's own reader and writer."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import IntegrityError
from edgegen.mil.types import TYPES, TypeName, pack_bits, unpack_bits
from edgegen.mil.weight_file import WeightFile, write_weight_file

RANDOM = np.random.default_rng(0)
WHOLE: list[TypeName] = ["fp16", "fp32", "int8", "uint8", "int16", "uint16", "int32", "uint32"]
PACKED: list[TypeName] = ["int4", "uint4", "uint1", "uint2", "uint3", "uint6"]


def numbers(kind: TypeName, count: int) -> np.ndarray:
    number_type = TYPES[kind]
    if number_type.numpy.kind == "f":
        return RANDOM.normal(size=count).astype(number_type.numpy)
    low = -(1 << number_type.bits - 1) if kind.startswith("int") else 0
    high = low + (1 << number_type.bits)
    return RANDOM.integers(low, high, count).astype(number_type.numpy)


@pytest.mark.parametrize("count", [1, 7, 64, 1001])
@pytest.mark.parametrize("kind", [*WHOLE, *PACKED])
def test_what_is_written_comes_back(kind: TypeName, count: int, tmp_path: Path) -> None:
    path = tmp_path / "weight.bin"
    arrays = [numbers(kind, count), numbers(kind, 3)]
    with write_weight_file(path) as file:
        offsets = [file.add(array, kind) for array in arrays]
    assert [offset % 64 for offset in offsets] == [0, 0]
    read = WeightFile(path)
    for array, offset in zip(arrays, offsets, strict=True):
        found = read.read(offset, kind, array.shape)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("kind", [*WHOLE, *PACKED])
def test_apples_reader_reads_it(kind: TypeName, tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    names = {"fp16": "fp16", "fp32": "float"}
    path = tmp_path / "weight.bin"
    array = numbers(kind, 100)
    with write_weight_file(path) as file:
        offset = file.add(array, kind)
    reader = storage._BlobStorageReader(str(path))
    found = np.array(getattr(reader, f"read_{names.get(kind, kind)}_data")(offset))
    if kind == "fp16":
        found = found.view(np.float16)
    np.testing.assert_array_equal(found.astype(array.dtype), array)


@pytest.mark.parametrize("kind", [*WHOLE, *PACKED])
def test_apples_writer_writes_the_same_bytes(kind: TypeName, tmp_path: Path) -> None:
    storage = pytest.importorskip("coremltools.libmilstoragepython")
    names = {"fp16": "fp16", "fp32": "float"}
    array = numbers(kind, 100)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with write_weight_file(ours) as file:
        file.add(array, kind)
    writer = storage._BlobStorageWriter(str(theirs))
    given = array.view(np.uint16) if kind == "fp16" else array
    getattr(writer, f"write_{names.get(kind, kind)}_data")(given)
    del writer
    assert ours.read_bytes().rstrip(b"\0") == theirs.read_bytes().rstrip(b"\0")


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_packing_begins_at_each_bytes_lowest_bit(bits: int) -> None:
    values = RANDOM.integers(0, 1 << bits, 101).astype(np.uint8)
    bitwise = np.unpackbits(values[:, None], axis=1, bitorder="little")[:, :bits].reshape(-1)
    expected = np.packbits(bitwise, bitorder="little")
    np.testing.assert_array_equal(pack_bits(values, bits), expected)
    np.testing.assert_array_equal(unpack_bits(expected, 101, bits), values)


def written(path: Path) -> int:
    with write_weight_file(path) as file:
        return file.add(np.arange(40, dtype=np.float32), "fp32")


@pytest.mark.parametrize("length", [0, 10, 64, 100, 128, 200])
def test_a_file_that_is_cut_off_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "weight.bin"
    offset = written(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(IntegrityError, match=r"weight\.bin"):
        WeightFile(path).read(offset, "fp32", (40,))


@pytest.mark.parametrize("offset", [0, 1, 65, 128, 1 << 40])
def test_a_place_that_is_no_entry_is_refused(offset: int, tmp_path: Path) -> None:
    path = tmp_path / "weight.bin"
    written(path)
    with pytest.raises(IntegrityError, match="no entry"):
        WeightFile(path).read(offset, "fp32", (40,))


@pytest.mark.parametrize(
    ("kind", "shape"), [("fp16", (40,)), ("fp32", (41,)), ("fp32", (1 << 40,)), ("int4", (40,))]
)
def test_an_entry_of_another_type_or_size_is_refused(
    kind: TypeName, shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "weight.bin"
    offset = written(path)
    with pytest.raises(IntegrityError, match="entry"):
        WeightFile(path).read(offset, kind, shape)


def test_an_entry_that_points_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weight.bin"
    offset = written(path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, offset + 16, 1 << 50)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="cut off"):
        WeightFile(path).read(offset, "fp32", (40,))


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weight.bin"
    written(path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, 3)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="version is 3"):
        WeightFile(path)
