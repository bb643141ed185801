"""What a device answers, read strictly: nothing that comes from it is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, DeviceError

T = TypeVar("T")

_LARGEST = 1 << 62
"""No size or count of a device is larger: it is a number of another kind, or a trap."""
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file or folder that a device made: its path there, which is only ever used there."""

    path: str

    def __post_init__(self) -> None:
        check_path(self.path)


def parse_answer(line: bytes) -> dict[str, Any]:
    """Return one line of the agent's as the object that it is.

    Raises ValueError where it is none, names a key twice, or has a number that no device has.
    """
    try:
        data = json.loads(
            line, object_pairs_hook=_pairs, parse_int=_whole, parse_constant=_no_number
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError("it isn't an object")
    return data


def read_answer(kind: type[T], address: str, request: str, answer: Mapping[str, Any]) -> T:
    """Return the fields of an answer as a value.

    Raises DeviceError where they are something else.
    """
    try:
        return decode(kind, dict(answer), source=f"the answer of {address} to '{request}'")
    except ConfigError as error:
        raise DeviceError(
            _short(error.message), hint="Something else answers there, or its disk is failing."
        ) from error


def check_path(path: str) -> None:
    """Raise ValueError for what is no absolute path of a device."""
    if not path.startswith("/") or not path.isprintable() or len(path) > _LONGEST_PATH:
        raise ValueError(f"{path[:80]!r} is no absolute path")


def check_size(name: str, value: int | None, *, least: int = 0) -> None:
    """Raise ValueError for a number of bytes or things that is too small to be one."""
    if value is not None and value < least:
        raise ValueError(f"{name} is {value}")


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a key occurs twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > len(str(_LARGEST)) or abs(int(digits)) > _LARGEST:
        raise ValueError(f"{digits[:30]}… is larger than any number here")
    return int(digits)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _short(text: str, most: int = 300) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
