"""The safetensors reader: it reads what safetensors writes, and believes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegen.core.errors import SourceError
from edgegen.models.safetensors import (
    MAXIMUM_HEADER_BYTES,
    STORED_TYPES,
    SafetensorsFile,
    read_tensor,
)

GOOD: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "F16", "shape": [4], "data_offsets": [24, 32]},
}


def write(path: Path, header: object, data_bytes: int = 32, *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    count = len(text) if length is None else length
    path.write_bytes(count.to_bytes(8, "little") + text + bytes(data_bytes))
    return path


def refused(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        SafetensorsFile.open(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 9
    return caught.value


def test_every_type_is_read_as_safetensors_wrote_it(tmp_path):
    import torch
    from safetensors.torch import save_file

    types = {
        "float64": torch.float64,
        "float32": torch.float32,
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "float8_e4m3": torch.float8_e4m3fn,
        "float8_e5m2": torch.float8_e5m2,
        "int64": torch.int64,
        "int32": torch.int32,
        "int16": torch.int16,
        "int8": torch.int8,
        "uint8": torch.uint8,
        "bool": torch.bool,
    }
    tensors = {
        name: (torch.arange(24).reshape(2, 3, 4) % 5).to(dtype) for name, dtype in types.items()
    }
    save_file(tensors, tmp_path / "all.safetensors", metadata={"format": "pt"})

    file = SafetensorsFile.open(tmp_path / "all.safetensors")

    assert {name for name, _ in STORED_TYPES.values()} == set(types)
    assert file.metadata == {"format": "pt"}
    for name, tensor in tensors.items():
        entry = file.entries[name]
        assert (entry.dtype, entry.shape, entry.elements) == (name, (2, 3, 4), 24)
        assert read_tensor(entry) == tensor.contiguous().view(torch.uint8).numpy().tobytes()


def test_scalars_and_empty_tensors_are_read(tmp_path):
    from safetensors.numpy import save_file

    tensors = {"scalar": np.array(3, np.float32), "empty": np.zeros((0, 7), np.float32)}
    save_file(tensors, tmp_path / "few.safetensors")

    entries = SafetensorsFile.open(tmp_path / "few.safetensors").entries

    assert entries["scalar"].shape == ()
    assert np.frombuffer(read_tensor(entries["scalar"]), "<f4") == 3
    assert read_tensor(entries["empty"]) == b""


def test_a_file_without_tensors_is_read(tmp_path):
    assert SafetensorsFile.open(write(tmp_path / "none.safetensors", {}, 0)).entries == {}


def test_the_order_in_the_header_need_not_be_that_in_the_file(tmp_path):
    swapped = {"b": GOOD["b"], "a": GOOD["a"]}

    assert len(SafetensorsFile.open(write(tmp_path / "x.safetensors", swapped)).entries) == 2


def test_a_missing_file_is_named(tmp_path):
    assert "does not exist" in refused(tmp_path / "gone.safetensors").message


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path):
    assert "cannot be read" in refused(tmp_path).message


@pytest.mark.parametrize("kept", [0, 3, 8, 20, -1])
def test_a_truncated_file_names_what_it_has_and_what_it_needs(kept, tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if kept >= 0 else len(whole) + kept])

    message = refused(path).message

    assert "was cut off" in message
    assert f"{path.stat().st_size:,}" in message


def test_a_file_cut_inside_its_tensors_names_both_sizes(tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])

    message = refused(path).message

    assert f"{len(whole):,}" in message
    assert f"{len(whole) - 5:,}" in message


def test_bytes_after_the_last_tensor_are_refused(tmp_path):
    message = refused(write(tmp_path / "x.safetensors", GOOD, 33)).message

    assert "belong to no tensor" in message


@pytest.mark.parametrize("length", [MAXIMUM_HEADER_BYTES + 1, 2**63, 2**64 - 1])
def test_a_header_of_an_impossible_length_is_refused_without_reading_it(length, tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD, length=length)

    assert f"{length:,}" in refused(path).message


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_header_that_is_not_a_json_object_is_refused(header, tmp_path):
    assert "is not a safetensors file" in refused(write(tmp_path / "x.safetensors", header)).message


def with_tensor(**changes: object) -> dict[str, Any]:
    return {**GOOD, "b": {**GOOD["b"], **changes}}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (with_tensor(shape=[5]), "needs 10 bytes, its offsets give 8"),
        (with_tensor(shape=[-4]), "has the shape [-4]"),
        (with_tensor(shape=[True, 4]), "has the shape [True, 4]"),
        (with_tensor(shape=[4.0]), "has the shape [4.0]"),
        (with_tensor(shape="4"), "has the shape '4'"),
        (with_tensor(shape=[1] * 33), "has the shape"),
        (with_tensor(shape=[0, 2**70]), "has the shape"),
        (with_tensor(shape=[2**61, 2**61]), "needs"),
        (with_tensor(data_offsets=[-8, 0]), "has the offsets [-8, 0]"),
        (with_tensor(data_offsets=[32, 24]), "has the offsets [32, 24]"),
        (with_tensor(data_offsets=[24, 32, 40]), "has the offsets [24, 32, 40]"),
        (with_tensor(data_offsets=[24.0, 32.0]), "has the offsets [24.0, 32.0]"),
        (with_tensor(data_offsets=[False, 8]), "has the offsets [False, 8]"),
        (with_tensor(data_offsets=None), "has the offsets None"),
        (with_tensor(data_offsets=[16, 24]), "overlaps tensor 'a'"),
        (with_tensor(data_offsets=[0, 8]), "overlaps tensor 'b'"),
        (with_tensor(data_offsets=[32, 40]), "leaves a gap after tensor 'a'"),
        (with_tensor(extra=1), "does not have a dtype, a shape and data_offsets"),
        ({**GOOD, "b": [1]}, "does not have a dtype, a shape and data_offsets"),
        ({**GOOD, "__metadata__": {"a": 1}}, "'__metadata__' is not a table of strings"),
        ({**GOOD, "__metadata__": "pt"}, "'__metadata__' is not a table of strings"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(header, words, tmp_path):
    message = refused(write(tmp_path / "x.safetensors", header)).message

    assert words in message
    assert "is broken" in message


@pytest.mark.parametrize("dtype", ["F8_E8M0", "F6_E2M3", "F4"])
def test_eight_bit_floats_are_refused_by_name(dtype, tmp_path):
    error = refused(write(tmp_path / "x.safetensors", with_tensor(dtype=dtype)))

    assert dtype in error.message
    assert "'b'" in error.message
    assert "fp16" in error.hint


@pytest.mark.parametrize("dtype", ["Q4_0", "float32", "", None, 3, ["F16"], {"F16": 1}])
def test_an_unknown_type_is_named_with_the_known_ones(dtype, tmp_path):
    error = refused(write(tmp_path / "x.safetensors", with_tensor(dtype=dtype)))

    assert repr(dtype) in error.message
    assert "BF16" in error.hint


def test_a_name_that_no_terminal_can_show_is_escaped_in_the_message(tmp_path):
    header = json.dumps({"\ud800\x1b[2J": {"dtype": "F16"}}).encode()

    message = refused(write(tmp_path / "x.safetensors", header)).message

    assert "\x1b" not in message
    message.encode("utf-8")


def test_a_file_that_becomes_shorter_after_its_header_was_read_is_an_error(tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD)
    entry = SafetensorsFile.open(path).entries["b"]
    os.truncate(path, path.stat().st_size - 4)

    with pytest.raises(SourceError, match="became shorter"):
        read_tensor(entry)


def test_a_file_that_is_gone_after_its_header_was_read_is_an_error(tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD)
    entry = SafetensorsFile.open(path).entries["b"]
    path.unlink()

    with pytest.raises(SourceError, match="cannot be read"):
        read_tensor(entry)


def descriptors_of(path: Path) -> int:
    """Count this process's descriptors of one file: others come and go with other tests."""
    links = [os.path.realpath(it) for it in Path("/proc/self/fd").iterdir()]
    return links.count(os.path.realpath(path))


def test_reading_closes_what_it_opens(tmp_path):
    path = write(tmp_path / "x.safetensors", GOOD)
    with path.open("rb"):
        assert descriptors_of(path) == 1

    for _ in range(3):
        read_tensor(SafetensorsFile.open(path).entries["a"])

    assert descriptors_of(path) == 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["F32", "F16", "BF16", "F8_E4M3", "I64", "BOOL"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from([*STORED_TYPES, "F8_E4M3"]) | JSON,
        "shape": st.lists(st.integers(-2, 6), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(-8, 64), min_size=2, max_size=2) | JSON,
        "more": JSON,
    },
)
HEADERS = st.dictionaries(st.text(max_size=8) | st.just("__metadata__"), TENSORS | JSON, max_size=4)


def opens_or_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        file = SafetensorsFile.open(path)
    except SourceError as error:
        error.message.encode("utf-8")
        return
    for entry in file.entries.values():
        assert len(read_tensor(entry)) == entry.size_bytes


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "x.safetensors"


@settings(max_examples=150, deadline=None)
@given(header=HEADERS, size=st.integers(0, 64))
def test_no_header_raises_anything_but_a_source_error(header, size, fuzzed):
    text = json.dumps(header).encode()

    opens_or_is_refused(fuzzed, len(text).to_bytes(8, "little") + text + bytes(size))


@settings(max_examples=150, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=4)
)
def test_no_changed_byte_raises_anything_but_a_source_error(edits, fuzzed):
    text = json.dumps(GOOD).encode()
    content = bytearray(len(text).to_bytes(8, "little") + text + bytes(32))
    for place, replacement in edits:
        at = place % len(content)
        content[at : at + len(replacement)] = replacement

    opens_or_is_refused(fuzzed, bytes(content))


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=64))
def test_no_bytes_raise_anything_but_a_source_error(content, fuzzed):
    opens_or_is_refused(fuzzed, content)
