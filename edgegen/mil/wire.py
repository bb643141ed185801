"""Protobuf's wire format, for messages that are declared as dataclasses.

Source: protobuf.dev, "Encoding". A message is a dataclass whose fields carry a `Field`; what a
message does not declare is skipped when it is read. It needs no generated code, no protobuf
library, and so no converter on the machine that reads or writes a Core ML model.
"""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import numpy as np

from edgegen.core.errors import IntegrityError

Kind = Literal["int", "bool", "string", "bytes", "message"]
Repeated = Literal["no", "list", "packed", "map"]
Packed = Literal["int", "bool", "float", "double"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 48
MOST_MESSAGES = 2_000_000
"""The UNet of `builtin:scenes` has 33,000. One may take two bytes there, and some hundred here."""

_FORMATS: dict[str, np.dtype[Any]] = {"float": np.dtype("<f4"), "double": np.dtype("<f8")}
_MASK = (1 << 64) - 1

M = TypeVar("M")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """How a dataclass's field is written: its number, what it holds, and how many of it.

    `message` gives the class of a message (a function, so that messages can hold each other). The
    values of a map have strings as keys.
    """

    number: int
    kind: Kind | Packed
    repeated: Repeated = "no"
    message: Callable[[], type[Any]] | None = None


def integer(number: int) -> Any:
    """Declare an integer, 0 where it is absent; enumerations are integers."""
    return _declared(Field(number=number, kind="int"), default=0)


def flag(number: int) -> Any:
    """Declare a truth value, False where it is absent."""
    return _declared(Field(number=number, kind="bool"), default=False)


def text(number: int) -> Any:
    """Declare a string, empty where it is absent."""
    return _declared(Field(number=number, kind="string"), default="")


def raw(number: int) -> Any:
    """Declare bytes, empty where they are absent."""
    return _declared(Field(number=number, kind="bytes"), default=b"")


def one(number: int, message: Callable[[], type[Any]]) -> Any:
    """Declare a message, None where it is absent. A member of a `oneof` is declared so too."""
    return _declared(Field(number=number, kind="message", message=message), default=None)


def many(number: int, message: Callable[[], type[Any]]) -> Any:
    """Declare a list of messages."""
    field = Field(number=number, kind="message", repeated="list", message=message)
    return _declared(field, default_factory=list)


def texts(number: int) -> Any:
    """Declare a list of strings."""
    return _declared(Field(number=number, kind="string", repeated="list"), default_factory=list)


def packed(number: int, kind: Packed) -> Any:
    """Declare a list of numbers, which is written as one run of bytes."""
    return _declared(Field(number=number, kind=kind, repeated="packed"), default_factory=list)


def mapping(number: int, message: Callable[[], type[Any]]) -> Any:
    """Declare a map of strings to messages; it is written in its order."""
    field = Field(number=number, kind="message", repeated="map", message=message)
    return _declared(field, default_factory=dict)


def encode(message: Any) -> bytes:
    """Return a message's bytes."""
    out = bytearray()
    for name, field in _fields(type(message)):
        value = getattr(message, name)
        if field.repeated == "map":
            for key, entry in value.items():
                body = _delimited(1, key.encode()) + _delimited(2, encode(entry))
                out += _delimited(field.number, body)
        elif field.repeated == "packed":
            if value:
                out += _delimited(field.number, _pack(field, value))
        elif field.repeated == "list":
            for item in value:
                out += _delimited(field.number, _body(field, item))
        elif field.kind == "message":
            if value is not None:
                out += _delimited(field.number, encode(value))
        elif field.kind in ("string", "bytes"):
            if value:
                out += _delimited(field.number, _body(field, value))
        elif value:
            out += _varint(field.number << 3 | _VARINT) + _varint(int(value) & _MASK)
    return bytes(out)


def decode(message: type[M], data: bytes | memoryview) -> M:
    """Read a message.

    Raises IntegrityError where the bytes end too early, a field is not of its declared kind, or
    messages are more, or nested deeper, than in any model of ours.
    """
    return _decode(message, memoryview(data), 0, itertools.count())


def _decode(message: type[M], data: memoryview, depth: int, count: Iterator[int]) -> M:
    if depth > _DEEPEST:
        raise not_a_model("messages are nested too deep")
    if next(count) >= MOST_MESSAGES:
        raise not_a_model(f"it holds more than {MOST_MESSAGES:,} messages")
    result = message()
    by_number = _by_number(message)
    for number, wire, value in _entries(data):
        if number not in by_number:
            continue
        name, field = by_number[number]
        _read_into(result, name, field, wire, value, depth, count)
    return result


def _read_into(
    result: Any,
    name: str,
    field: Field,
    wire: int,
    value: int | memoryview,
    depth: int,
    count: Iterator[int],
) -> None:
    if field.repeated == "packed":
        getattr(result, name).extend(_unpack(field, wire, value))
        return
    wanted = _VARINT if field.kind in ("int", "bool") else _LENGTH
    if wire != wanted:
        raise not_a_model(f"field {field.number} ({name}) is of wire type {wire}")
    if isinstance(value, int):
        setattr(result, name, bool(value) if field.kind == "bool" else _signed(value))
        return
    if field.repeated == "map":
        key, body = _map_entry(value)
        getattr(result, name)[key] = _decode(_class_of(field), body, depth + 1, count)
        return
    item: Any
    if field.kind == "message":
        item = _decode(_class_of(field), value, depth + 1, count)
    else:
        item = _text(value) if field.kind == "string" else bytes(value)
    if field.repeated == "list":
        getattr(result, name).append(item)
    else:
        setattr(result, name, item)


def _entries(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield each field's number, wire type and value."""
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _read_varint(data, position)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            size, position = _read_varint(data, position)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise not_a_model(f"field {number} has the wire type {wire}")
        if size > len(data) - position:
            raise not_a_model(f"field {number} is cut off")
        yield number, wire, data[position : position + size]
        position += size


def _map_entry(data: memoryview) -> tuple[str, memoryview]:
    key, body = "", memoryview(b"")
    for number, wire, value in _entries(data):
        if isinstance(value, int) or wire != _LENGTH:
            raise not_a_model("a map has a key or a value of another kind")
        if number == 1:
            key = _text(value)
        elif number == 2:
            body = value
    return key, body


def _unpack(field: Field, wire: int, value: int | memoryview) -> list[Any]:
    if isinstance(value, int):  # a writer may leave a number unpacked
        return [bool(value) if field.kind == "bool" else _signed(value)]
    if field.kind in _FORMATS:
        dtype = _FORMATS[field.kind]
        if len(value) % dtype.itemsize:
            raise not_a_model(f"field {field.number} is cut off")
        return [float(number) for number in np.frombuffer(value, dtype)]
    numbers, position = [], 0
    if wire != _LENGTH:
        raise not_a_model(f"field {field.number} is of wire type {wire}")
    while position < len(value):
        number, position = _read_varint(value, position)
        numbers.append(bool(number) if field.kind == "bool" else _signed(number))
    return numbers


def _pack(field: Field, values: list[Any]) -> bytes:
    if field.kind in _FORMATS:
        return np.asarray(values, _FORMATS[field.kind]).tobytes()
    return b"".join(_varint(int(value) & _MASK) for value in values)


def _body(field: Field, value: Any) -> bytes:
    if field.kind == "message":
        return encode(value)
    return str(value).encode() if field.kind == "string" else bytes(value)


def _delimited(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    if value < 0x80:
        return struct.pack("B", value)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise not_a_model("a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, position
        shift += 7
        if shift > 63:
            raise not_a_model("a number is too long")


def _signed(value: int) -> int:
    """Return an int64 that was written in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _text(value: memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise not_a_model("a text is not UTF-8") from error


def _class_of(field: Field) -> type[Any]:
    if field.message is None:
        raise TypeError(f"field {field.number} declares no message")
    return field.message()


def _declared(field: Field, **default: Any) -> Any:
    return dataclasses.field(metadata={"field": field}, **default)


_FIELDS: dict[type[Any], tuple[tuple[str, Field], ...]] = {}
_BY_NUMBER: dict[type[Any], dict[int, tuple[str, Field]]] = {}


def _fields(message: type[Any]) -> tuple[tuple[str, Field], ...]:
    if message not in _FIELDS:
        declared = [(item.name, item.metadata["field"]) for item in dataclasses.fields(message)]
        _FIELDS[message] = tuple(sorted(declared, key=lambda pair: pair[1].number))
    return _FIELDS[message]


def _by_number(message: type[Any]) -> dict[int, tuple[str, Field]]:
    if message not in _BY_NUMBER:
        _BY_NUMBER[message] = {field.number: (name, field) for name, field in _fields(message)}
    return _BY_NUMBER[message]


def not_a_model(why: str) -> IntegrityError:
    """Return the error for bytes that are no Core ML model."""
    return IntegrityError(
        f"This is not a Core ML model: {why}.", hint="The file is damaged, or of another format."
    )
