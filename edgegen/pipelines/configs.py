"""A component's configuration file, read with errors that name the file and the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_json_object
from edgegen.core.errors import ConfigError, SourceError

_DAMAGED = "Download the file again; it is damaged, or from another kind of model."


@dataclass(frozen=True, slots=True)
class ComponentConfig:
    """The JSON object in `path`."""

    path: Path
    data: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> ComponentConfig:
        """Read `path`. Raises SourceError where it is missing or not a JSON object."""
        if not path.is_file():
            raise SourceError(
                f"{path} does not exist.", hint="Check the path, or download the model again."
            )
        try:
            return cls(path, load_json_object(path))
        except ConfigError as error:
            raise SourceError(error.message, hint=_DAMAGED) from error

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a positive integer; `default` where the key is absent or null."""
        value = self._value(key, default)
        if type(value) is not int or value < 1:
            raise self._wrong(key, value, "a positive integer")
        return value

    def optional_integer(self, key: str) -> int | None:
        """Return a positive integer, or None where the key is absent or null."""
        return None if self.data.get(key) is None else self.integer(key)

    def number(self, key: str, default: float) -> float:
        """Return a number other than zero; `default` where the key is absent or null."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
            raise self._wrong(key, value, "a number other than zero")
        return float(value)

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string; `default` where the key is absent or null."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def optional_text(self, key: str) -> str | None:
        """Return a string, or None where the key is absent or null."""
        return None if self.data.get(key) is None else self.text(key)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false; `default` where the key is absent or null."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def items(self, key: str) -> list[Any]:
        """Return a list that is not empty."""
        value = self._value(key, None)
        if not isinstance(value, list) or not value:
            raise self._wrong(key, value, "a list")
        return value

    def _value(self, key: str, default: object) -> object:
        value = self.data.get(key)
        return default if value is None else value

    def _wrong(self, key: str, value: object, wanted: str) -> SourceError:
        if value is None:
            return SourceError(f"{self.path} lacks the key '{key}'.", hint=_DAMAGED)
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return SourceError(f"{self.path}: '{key}' is {shown}, not {wanted}.", hint=_DAMAGED)
