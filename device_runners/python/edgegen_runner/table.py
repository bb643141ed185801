"""Reads JSON objects strictly, key by key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

from .errors import RunnerFailure, nearest, shortened

Word = TypeVar("Word", bound=str)

_MISSING = object()
_LARGEST_NUMBER = 1e300
_LARGEST_AXIS = 1 << 31
_MOST_AXES = 32
_MOST_DIGITS = 32
_LONGEST_PATH = 4096
_LONGEST_NAME = 256


class Table:
    """A JSON object whose keys are taken one by one; what is left is unknown.

    What is missing, or of another type or size than the reader takes, raises RunnerFailure of a
    ``kind``, and the message names the key and the object it is in (``at``). The readers return
    their ``default`` where the key is missing or null.
    """

    def __init__(self, data: Mapping[str, Any], at: str, kind: str) -> None:
        self._data = dict(data)
        self._known: list[str] = []
        self._at = at
        self._kind = kind

    def done(self) -> None:
        """Refuse keys that were not taken."""
        for key in self._data:
            raise RunnerFailure(
                self._kind, f"Unknown key {key!r} in {self._at}.", nearest(key, self._known)
            )

    def _take(self, key: str, default: Any = None) -> Any:
        self._known.append(key)
        value = self._data.pop(key, _MISSING)
        if value is _MISSING or value is None:
            if default is _MISSING:
                raise RunnerFailure(self._kind, f"{key!r} is missing in {self._at}.")
            return default
        return value

    def _refuse(self, key: str, value: Any, wanted: str) -> RunnerFailure:
        message = f"{key!r} in {self._at} is {shortened(value)}, not {wanted}."
        return RunnerFailure(self._kind, message)

    def text(self, key: str, default: Any = _MISSING) -> str:
        """Return a text that is not empty."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            raise self._refuse(key, value, "a text")
        return value

    def optional_text(self, key: str) -> Optional[str]:
        """Return a text, or None."""
        value = self._take(key)
        if value is not None and not isinstance(value, str):
            raise self._refuse(key, value, "a text")
        return value

    def texts(self, key: str) -> Optional[tuple[str, ...]]:
        """Return a list of texts that is not empty, or None."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise self._refuse(key, value, "a list of texts")
        return tuple(value)

    def numbers(
        self,
        key: str,
        *,
        count: Optional[int] = None,
        least: float = -_LARGEST_NUMBER,
        most: float = _LARGEST_NUMBER,
    ) -> Optional[tuple[float, ...]]:
        """Return a list of so many finite numbers within limits, or None."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, list) or not value or len(value) != (count or len(value)):
            raise self._refuse(key, value, f"{count or 'a list of'} numbers")
        for item in value:
            if type(item) not in (int, float) or not abs(item) <= _LARGEST_NUMBER:
                raise self._refuse(key, item, "a finite number")
            if not least <= item <= most:
                raise self._refuse(key, item, f"between {least:g} and {most:g}")
        return tuple(map(float, value))

    def name(self, key: str) -> str:
        """Return a text that may be a part of a file's name."""
        value = self.text(key)
        if not is_file_name(value):
            raise self._refuse(key, value, "a plain name")
        return value

    def path(self, key: str) -> Path:
        """Return the path of a file."""
        value = self.text(key)
        if not is_path(value):
            raise self._refuse(key, value, "a path")
        return Path(value)

    def paths(self, key: str) -> Optional[tuple[Path, ...]]:
        """Return a list of paths of files that is not empty, or None."""
        value = self.texts(key)
        for path in value or ():
            if not path or not is_path(path):
                raise self._refuse(key, path, "a path")
        return None if value is None else tuple(map(Path, value))

    def optional_path(self, key: str) -> Optional[Path]:
        """Return the path of a file, or None."""
        return self.path(key) if self._has(key) else None

    def choice(self, key: str, choices: tuple[Word, ...], default: Any = _MISSING) -> Word:
        """Return one of several words."""
        value = self._take(key, default)
        for word in choices:
            if word == value:
                return word
        raise RunnerFailure(
            self._kind,
            f"{key!r} in {self._at} is {shortened(value)}.",
            nearest(shortened(value), choices),
        )

    def optional_choice(self, key: str, choices: tuple[Word, ...]) -> Optional[Word]:
        """Return one of several words, or None."""
        return self.choice(key, choices) if self._has(key) else None

    def choices(self, key: str, choices: tuple[Word, ...]) -> tuple[Word, ...]:
        """Return a list, which is not empty, of some of several words."""
        value = self.texts(key)
        if value is None:
            raise self._refuse(key, value, f"a list of {', '.join(choices)}")
        known = {str(word): word for word in choices}
        for word in value:
            if word not in known:
                raise self._refuse(key, word, f"one of {', '.join(choices)}")
        return tuple(known[word] for word in value)

    def truth(self, key: str) -> bool:
        """Return true or false, false where the key is missing."""
        value = self._take(key, False)
        if not isinstance(value, bool):
            raise self._refuse(key, value, "true or false")
        return value

    def whole(
        self, key: str, default: Any = _MISSING, *, least: int, most: Optional[int] = None
    ) -> int:
        """Return a whole number within limits."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._refuse(key, value, "a whole number")
        if value < least or (most is not None and value > most):
            limit = f"at least {least}" if most is None else f"between {least} and {most}"
            raise self._refuse(key, value, limit)
        return value

    def optional_whole(self, key: str, *, least: int, most: Optional[int] = None) -> Optional[int]:
        """Return a whole number within limits, or None."""
        return self.whole(key, least=least, most=most) if self._has(key) else None

    def number(
        self,
        key: str,
        default: Any = _MISSING,
        *,
        least: Optional[float] = None,
        above: Optional[float] = None,
        most: Optional[float] = None,
    ) -> float:
        """Return a finite number within limits."""
        value = self._take(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._refuse(key, value, "a number")
        if value != value or abs(value) > _LARGEST_NUMBER:
            raise self._refuse(key, value, "a finite number")
        if least is not None and value < least:
            raise self._refuse(key, value, f"at least {least}")
        if above is not None and value <= above:
            raise self._refuse(key, value, f"above {above}")
        if most is not None and value > most:
            raise self._refuse(key, value, f"at most {most}")
        return float(value)

    def optional_number(
        self,
        key: str,
        *,
        least: Optional[float] = None,
        above: Optional[float] = None,
        most: Optional[float] = None,
    ) -> Optional[float]:
        """Return a finite number within limits, or None."""
        if not self._has(key):
            return None
        return self.number(key, least=least, above=above, most=most)

    def _has(self, key: str) -> bool:
        self._known.append(key)
        if self._data.get(key) is None:
            self._data.pop(key, None)
            return False
        return True

    def table(self, key: str, default: Any = _MISSING) -> Table:
        """Return an object."""
        return self._as_table(key, self._take(key, default))

    def optional_table(self, key: str) -> Optional[Table]:
        """Return an object, or None."""
        return self.table(key) if self._has(key) else None

    def tables(self, key: str, *, most: int, default: Any = _MISSING) -> Iterator[Table]:
        """Return the objects of a list, at most so many."""
        value = self._take(key, default)
        if not isinstance(value, list):
            raise self._refuse(key, value, "a list")
        if len(value) > most:
            raise self._refuse(key, f"{len(value):,} entries", f"at most {most:,}")
        return (self._as_table(f"{key}[{index}]", item) for index, item in enumerate(value))

    def named_tables(self, key: str, *, most: int) -> Iterator[tuple[str, Table]]:
        """Return the objects of an object by their names, at most so many."""
        named = self.table(key, {})._data
        if len(named) > most:
            raise self._refuse(key, f"{len(named):,} entries", f"at most {most:,}")
        return ((name, self._as_table(f"{key}[{name}]", it)) for name, it in named.items())

    def wholes(self, key: str, *, least: int, most: int) -> Mapping[str, int]:
        """Return whole numbers within limits by their names, at most so many; none where null."""
        numbers = self.table(key, {})
        if len(numbers._data) > most:
            raise self._refuse(key, f"{len(numbers._data):,} entries", f"at most {most:,}")
        return {name: numbers.whole(name, least=least) for name in list(numbers._data)}

    def shape(self, key: str) -> tuple[Union[int, str], ...]:
        """Return the axes of a tensor: a number where an axis is fixed, else a name."""
        value = self._take(key, _MISSING)
        if not isinstance(value, list) or len(value) > _MOST_AXES:
            raise self._refuse(key, value, f"a list of at most {_MOST_AXES} axes")
        for axis in value:
            if not (type(axis) is int and 0 < axis < _LARGEST_AXIS) and not isinstance(axis, str):
                raise self._refuse(key, axis, "an axis")
        return tuple(value)

    def _as_table(self, at: str, value: Any) -> Table:
        if not isinstance(value, dict):
            raise self._refuse(at, value, "an object")
        return Table(value, at, self._kind)


def parse_json(data: bytes) -> Any:
    """Read JSON text in UTF-8.

    Raises ValueError where it is something else, RecursionError where it is nested too deep.
    """
    return json.loads(data.decode("utf-8"), parse_int=_parse_int)


def _parse_int(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:  # the time to read one grows with the square of its digits
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def is_file_name(text: str) -> bool:
    """Say whether a text is the name of a file, without a folder, that is not hidden."""
    return bool(text) and is_path(text) and "/" not in text and not text.startswith(".")


def is_path(text: str) -> bool:
    """Return whether a file could be called so: no zero, no half a character, nothing too long."""
    try:
        name = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    parts = name.split(b"/")
    return b"\0" not in name and len(name) < _LONGEST_PATH and max(map(len, parts)) < _LONGEST_NAME
