"""A strict codec between frozen dataclasses and TOML or JSON.

Unknown keys, missing keys and wrong types are errors that name the file, the key and, where there
is one, the nearest known key. Tuples stand for lists, so that every decoded value is hashable or
at least frozen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import reprlib
import tomllib
import types
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from edgegen.core.errors import ConfigError, nearest
from edgegen.core.regular_files import open_regular

T = TypeVar("T")
_HALF_OF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")

MAXIMUM_JSON_BYTES = 16 << 20
"""The largest that a pipeline has is a tokenizer of about 4 MB. Lists in lists take 25 times their
size in memory."""
MAXIMUM_TOML_BYTES = 128 << 10
MAXIMUM_TOML_LINE = 1024
"""What people write by hand is 13 KB at most. tomllib's time and memory grow with the square of a
key's parts (`a.a.a.a`), so a line is limited, too."""
MAXIMUM_ITEMS = 100_000
"""Entries of a list or a table in a file of a known form; a package has dozens of files."""
MAXIMUM_INTEGER = 2**63 - 1
"""Counts and sizes in bytes are below it; larger numbers break whatever computes with them."""


_CALLED: Mapping[Any, str] = {
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    **dict.fromkeys((dict, Mapping, types.MappingProxyType), "a table"),
}
"""What TOML and JSON call a kind of value; none of these is `null`."""


def load_toml(cls: type[T], path: Path) -> T:
    """Read a TOML file into `cls`.

    Raises ConfigError where the file is not TOML, or does not hold exactly what `cls` has.
    """
    text = _read_text(path, MAXIMUM_TOML_BYTES)
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > MAXIMUM_TOML_LINE:
            raise ConfigError(
                f"{path}: line {number} has over {MAXIMUM_TOML_LINE} characters.",
                hint="Break it: a list can take several lines, and so can a text in triple quotes.",
            )
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also numbers of thousands of digits
        raise ConfigError(f"{path} is not TOML: {error}.", hint="Correct the file.") from error
    return decode(cls, data, source=str(path))


def load_json(cls: type[T], path: Path) -> T:
    """Read a JSON file into `cls`.

    Raises ConfigError where the file is not JSON, or does not hold exactly what `cls` has.
    """
    return decode(cls, load_json_object(path), source=str(path))


def load_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of edgegen's own that holds one object, without a schema."""
    return parse_json_object(_read_text(path, MAXIMUM_JSON_BYTES), source=str(path))


def load_python_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of somebody else's, such as a diffusers config, as Python's json does.

    NaN and the infinities are numbers (diffusers writes `"lambda_min_clipped": -Infinity`), and of
    a key that occurs twice the last value counts.
    """
    text = _read_text(path, MAXIMUM_JSON_BYTES)
    return parse_json_object(text, source=str(path), strict=False)


def parse_json_object(text: str, *, source: str, strict: bool = True) -> dict[str, Any]:
    """Parse a JSON text that holds one object; if `strict`, duplicate keys and NaN are refused.

    Characters that are half of a pair are always refused: they cannot be written to a file or a
    terminal. Raises ConfigError that names `source`.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise ValueError("a key occurs twice")
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        if strict:
            data = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        else:
            data = json.loads(text)
        if _HALF_OF_A_PAIR.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} is not JSON: {error}.", hint="Restore the file.") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{source} holds {_CALLED.get(type(data), 'null')}, not an object.",
            hint="Restore the file.",
        )
    return data


def dump_json(value: object) -> str:
    """Write a dataclass as JSON: two spaces, keys in field order, a newline at the end."""
    return json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def encode(value: object) -> Any:
    """Turn a dataclass into what JSON and TOML hold. None fields are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: encode(item) for name, item in fields if item is not None}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be written as TOML or JSON")


def decode(cls: type[T], data: object, *, source: str, at: str = "") -> T:
    """Build a `cls` from decoded TOML or JSON.

    `source` names the file in errors, `at` the place in it (`components[0].name`).
    Raises ConfigError for an unknown or missing key and for a value of another type.
    """
    return typing.cast("T", _decode(cls, data, source, at))


def _decode(kind: Any, data: object, source: str, at: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast("type[Any]", kind), data, source, at)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(arguments, data, source, at)
    if origin is Literal:
        if data in arguments and type(data) in {type(argument) for argument in arguments}:
            return data
        known = nearest(_shown(data).strip("'"), [str(argument) for argument in arguments])
        raise ConfigError(f"{source}: {at} is {_shown(data)}.", hint=known)
    if isinstance(data, list | tuple | Mapping):
        _refuse_many(data, source, at)
    if origin is tuple and isinstance(data, list | tuple):
        return _decode_tuple(arguments, data, source, at)
    if origin in (Mapping, dict, types.MappingProxyType) and isinstance(data, Mapping):
        return {
            _decode(arguments[0], key, source, at): _decode(
                arguments[1], item, source, f"{at}.{_name(key)}"
            )
            for key, item in data.items()
        }
    if kind is Any:
        return data
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        # An integer beyond float's range is refused like an infinity.
        with contextlib.suppress(OverflowError):
            if math.isfinite(data):
                return float(data)
    elif kind is int and type(data) is int:
        if abs(data) <= MAXIMUM_INTEGER:
            return data
    elif kind in (str, bool) and type(data) is kind:
        return data
    elif kind is types.NoneType and data is None:
        return None
    wanted = "a whole number" if kind is int else _CALLED.get(origin or kind, "null")
    raise ConfigError(
        f"{source}: {at or 'the file'} is {_shown(data)}, which is not {wanted}.",
        hint=f"Give {at or 'it'} {wanted}.",
    )


def _decode_dataclass(cls: type[Any], data: object, source: str, at: str) -> Any:
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{source}: {at or 'the file'} is {_shown(data)}, which is not a table.",
            hint=f"Give it the keys {', '.join(it.name for it in dataclasses.fields(cls))}.",
        )
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = _type_hints(cls)  # type: ignore[arg-type]  # typeshed: a class is hashable
    prefix = f"{at}." if at else ""
    for key in data:
        if key not in fields:
            name = _name(key)
            raise ConfigError(
                f"{source}: unknown key '{prefix}{name}'.", hint=nearest(name, fields)
            )
    values = {
        name: _decode(hints[name], data[name], source, prefix + name)
        for name in fields
        if name in data
    }
    for name, field in fields.items():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and name not in values and types.NoneType in get_args(hints[name]):
            values[name] = None  # `encode` left it out
        elif required and name not in values:
            raise ConfigError(
                f"{source}: the key '{prefix}{name}' is missing.", hint=f"Add '{name}'."
            )
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(
            f"{source}: {f'{at}: ' if at else ''}{error}.", hint="Correct it."
        ) from error


def _decode_union(kinds: tuple[Any, ...], data: object, source: str, at: str) -> Any:
    failure: ConfigError | None = None
    for kind in kinds:
        try:
            return _decode(kind, data, source, at)
        except ConfigError as error:
            if failure is None or dataclasses.is_dataclass(kind):
                failure = error
    assert failure is not None
    raise failure


def _decode_tuple(kinds: tuple[Any, ...], data: Any, source: str, at: str) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], item, source, f"{at}[{i}]") for i, item in enumerate(data))
    if len(kinds) != len(data):
        raise ConfigError(f"{source}: {at} has {len(data)} entries, not {len(kinds)}.")
    return tuple(
        _decode(kind, item, source, f"{at}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, data, strict=True))
    )


@cache
def _type_hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _refuse_many(data: Any, source: str, at: str) -> None:
    if len(data) > MAXIMUM_ITEMS:
        raise ConfigError(
            f"{source}: {at} has {len(data):,} entries; {MAXIMUM_ITEMS:,} are the most.",
            hint="This is not what edgegen writes: restore the file.",
        )


def _name(key: object) -> str:
    """Return a key as an error names it: whole, unless it is a whole text."""
    text = str(key)
    return text if len(text) <= _SHORT.maxstring else f"{text[: _SHORT.maxstring]}…"


def _shown(value: object) -> str:
    """Return a value as an error shows it: shortened, whatever it is."""
    return _SHORT.repr(value)


class _Short(reprlib.Repr):
    """Shortens values; a number may have more digits than Python prints."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80

    def repr_int(self, x: int, level: int) -> str:
        """Return a number that fits, else how long it is at least."""
        if abs(x) > MAXIMUM_INTEGER:
            return f"a number of {len(str(MAXIMUM_INTEGER))} digits or more"
        return super().repr_int(x, level)


_SHORT = _Short()


def _read_text(path: Path, limit_bytes: int) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise ConfigError(
                f"{path} is larger than {limit_bytes >> 10:,} KiB.",
                hint="It is not what its name says: restore the file.",
            )
        return data.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist.", hint="Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Check the file.") from error
