"""A component's configuration file, read with errors that name the file and the key."""

from __future__ import annotations

import math
import re
import reprlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.lfs import refuse_pointer

MAXIMUM_NUMBER = 1 << 24
"""No width, vocabulary, number of positions or size of a network is larger; tokens are 49,408."""
MAXIMUM_LAYERS = 1000
"""Layers of one block, those of its transformers in each. SDXL has 2 × 10, CLIP's largest 32."""
MAXIMUM_LEVELS = 16
"""Levels of a network, each of which halves the picture; the deepest have 6."""
MAXIMUM_ENTRIES = 1024
"""Entries of any other list or object: of means of latents, say, one a channel."""

_DAMAGED = "Download the file again; it is damaged, or from another kind of model."
_LARGEST_FLOAT = sys.float_info.max
_COUNTS_LAYERS = re.compile(r"(.*_)?(layers|layers_per_block|(en|de)coder_blocks)")
_LISTS_LEVELS = re.compile(r".*(block_types|block_out_channels)")


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
            refuse_pointer(path)
            return cls(path, load_python_json_object(path))
        except OSError as error:
            raise SourceError(
                f"{path} cannot be read: {error.strerror}.", hint="Check the file."
            ) from error
        except ConfigError as error:
            raise SourceError(error.message, hint=_DAMAGED) from error

    @classmethod
    def of_network(cls, path: Path) -> ComponentConfig:
        """Read the config of a network, whose numbers decide how much is built.

        Raises SourceError as `read` does, and where a number would take hours or all memory.
        """
        config = cls.read(path)
        of_text = config.data.get("text_config")
        if isinstance(of_text, dict):  # a whole CLIPModel was saved; transformers takes its part
            config = cls(path, of_text)
        if config.data.get("quantization_config") is not None:
            raise SourceError(
                f"{path}: its weights are quantized ('quantization_config'), which edgegen does "
                "not undo.",
                hint="Take the model's weights in float16, bfloat16 or float32; edgegen's own "
                "recipes make them smaller.",
            )
        layers = 1
        for key, value in config.data.items():
            most = MAXIMUM_LEVELS if _LISTS_LEVELS.fullmatch(key) else MAXIMUM_ENTRIES
            numbers = [0]
            for item in _walk(value):
                if isinstance(item, list | dict) and len(item) > most:
                    raise config._wrong(key, value, f"at most {most:,} entries")
                if isinstance(item, int):
                    numbers.append(abs(item))
            if max(numbers) > MAXIMUM_NUMBER:
                raise config._wrong(key, value, f"a number up to {MAXIMUM_NUMBER:,}")
            if _COUNTS_LAYERS.fullmatch(key):
                layers *= max(1, *numbers)
        if layers > MAXIMUM_LAYERS:
            raise SourceError(
                f"{path} describes blocks of {layers:,} layers; edgegen builds {MAXIMUM_LAYERS:,}.",
                hint=_DAMAGED,
            )
        return config

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
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, "a number other than zero")
        number = float(value) if abs(value) <= _LARGEST_FLOAT else math.inf
        if number == 0 or not math.isfinite(number):
            raise self._wrong(key, value, "a number other than zero")
        return number

    def numbers(self, key: str, count: int) -> tuple[float, ...]:
        """Return a list of so many finite numbers."""
        value = self.data.get(key)
        if (
            not isinstance(value, list)
            or len(value) != count
            or not all(type(item) in (int, float) and math.isfinite(item) for item in value)
        ):
            raise self._wrong(key, value, f"{count} numbers")
        return tuple(map(float, value))

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
        return SourceError(
            f"{self.path}: '{key}' is {reprlib.repr(value)}, not {wanted}.", hint=_DAMAGED
        )


def _walk(value: object) -> Iterator[object]:
    """Yield a value, and all that is in it."""
    yield value
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _walk(item)
