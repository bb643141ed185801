"""A program's constants: numpy arrays as messages, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegen.mil.schema import (
    BlobFileValue,
    Bools,
    ConstantDimension,
    Dimension,
    Floats,
    ImmediateValue,
    Ints,
    LongInts,
    NamedValueType,
    RawBytes,
    Strings,
    TensorType,
    TensorValue,
    Value,
    ValueType,
)
from edgegen.mil.types import BY_DTYPE, NAMES, TYPES, TypeName, unpack_bits
from edgegen.mil.wire import not_a_model

WEIGHTS_PATH = "@model_path/weights/weight.bin"
"""How a program names the file of weights beside it."""

_IN_BYTES = frozenset({"fp16", "int8", "uint8", "uint32"})
"""What a value that stands in the program holds as bytes (coremltools does so too)."""

ReadBlob = Callable[[str, int, TypeName, tuple[int, ...]], NDArray[Any]]
"""Reads the entry of a file of weights: its name, offset, type and shape."""


def tensor_type(kind: TypeName, shape: Sequence[int]) -> ValueType:
    """Return the type of a tensor whose axes are all known."""
    return ValueType(
        tensor=TensorType(
            data_type=TYPES[kind].proto,
            rank=len(shape),
            dimensions=[Dimension(constant=ConstantDimension(size=int(size))) for size in shape],
        )
    )


def named(name: str, kind: TypeName, shape: Sequence[int]) -> NamedValueType:
    """Return a tensor's name and type."""
    return NamedValueType(name=name, type=tensor_type(kind, shape))


def string(value: str) -> Value:
    """Return a text as a value."""
    return Value(
        type=tensor_type("string", ()),
        immediate=ImmediateValue(tensor=TensorValue(strings=Strings(values=[value]))),
    )


def immediate(array: NDArray[Any] | np.generic) -> Value:
    """Return an array's numbers as a value that stands in the program."""
    numbers = np.asarray(array)
    kind = BY_DTYPE[numbers.dtype.newbyteorder("<")]
    flat = numbers.reshape(-1)
    if kind in _IN_BYTES:
        tensor = TensorValue(bytes=RawBytes(values=flat.astype(TYPES[kind].numpy).tobytes()))
    elif kind == "bool":
        tensor = TensorValue(bools=Bools(values=[bool(number) for number in flat]))
    elif kind == "fp32":
        tensor = TensorValue(floats=Floats(values=[float(number) for number in flat]))
    elif kind == "int64":
        tensor = TensorValue(long_ints=LongInts(values=[int(number) for number in flat]))
    else:
        tensor = TensorValue(ints=Ints(values=[int(number) for number in flat]))
    return Value(type=tensor_type(kind, numbers.shape), immediate=ImmediateValue(tensor=tensor))


def in_file(offset: int, kind: TypeName, shape: Sequence[int]) -> Value:
    """Return a value whose numbers stand in the file of weights, from `offset` on."""
    return Value(
        type=tensor_type(kind, shape),
        blob_file=BlobFileValue(file_name=WEIGHTS_PATH, offset=offset),
    )


def shape_of(value_type: ValueType | None) -> tuple[TypeName, tuple[int, ...]]:
    """Return a tensor's type and shape.

    Raises IntegrityError for what is no tensor, an unknown type, and an axis of unknown size.
    """
    tensor = None if value_type is None else value_type.tensor
    if tensor is None:
        raise not_a_model("a value is no tensor")
    if tensor.data_type not in NAMES:
        raise not_a_model(f"a value has the unknown type {tensor.data_type}")
    sizes = []
    for dimension in tensor.dimensions:
        if dimension.constant is None:
            raise not_a_model("a tensor has an axis of unknown size")
        sizes.append(dimension.constant.size)
    if any(size < 0 for size in sizes):
        raise not_a_model("a tensor has an axis of negative size")
    return NAMES[tensor.data_type], tuple(sizes)


def read_value(value: Value, read_blob: ReadBlob) -> Any:
    """Return a value as a numpy array, a text, or a list of either.

    Raises IntegrityError where its numbers are not as many as its type says.
    """
    held = value.immediate
    if held is not None and held.list is not None:
        return [read_value(item, read_blob) for item in held.list.values]
    kind, shape = shape_of(value.type)
    if value.blob_file is not None:
        return read_blob(value.blob_file.file_name, value.blob_file.offset, kind, shape)
    tensor = None if held is None else held.tensor
    if tensor is None:
        raise not_a_model("a value has no numbers")
    if tensor.strings is not None:
        texts = tensor.strings.values
        if len(texts) != math.prod(shape):
            raise not_a_model("a value does not hold as many texts as its type says")
        return list(texts) if shape else texts[0]
    return _numbers(tensor, kind, shape)


def _numbers(tensor: TensorValue, kind: TypeName, shape: tuple[int, ...]) -> NDArray[Any]:
    number_type = TYPES[kind]
    count = math.prod(shape)
    if kind == "string":
        raise not_a_model("a value of texts holds numbers")
    if tensor.bytes is not None:
        data = np.frombuffer(tensor.bytes.values, np.uint8)
        if data.size != -(-count * number_type.bits // 8):
            raise not_a_model(f"a value of {count} numbers holds {data.size} bytes")
        if number_type.is_packed:
            numbers = unpack_bits(data, count, number_type.bits, is_signed=kind == "int4")
        else:
            numbers = data.view(number_type.numpy)
        return numbers.reshape(shape)
    member = next(
        (
            item
            for item in (
                tensor.floats,
                tensor.ints,
                tensor.bools,
                tensor.long_ints,
                tensor.doubles,
            )
            if item is not None
        ),
        None,
    )
    values = [] if member is None else member.values
    if len(values) != count:
        raise not_a_model(f"a value of {count} numbers holds {len(values)}")
    try:
        return np.array(values, number_type.numpy).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise not_a_model(f"a value holds a number that is no {kind}") from error
