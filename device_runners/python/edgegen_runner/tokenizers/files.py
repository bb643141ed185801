"""Reading a tokenizer's files, within limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..files import open_regular
from ..table import parse_json

# CLIP has 49,408 tokens in 1.5 MB, and each vector of a textual inversion adds one; T5 has 32,100
# in 2.4 MB. Within these limits a tokenizer is read in seconds.
LARGEST_FILE_BYTES = 16 << 20
MOST_TOKENS = 250_000
MOST_ADDED_TOKENS = 10_000
LONGEST_TOKEN = 1000
# transformers writes int(1e30) for "no limit"; no text encoder reads a prompt of a million tokens.
LARGEST_MODEL_MAX_LENGTH = 1_000_000


def read_json_object(path: Path, default: Optional[dict[str, Any]] = None) -> dict[str, Any]:
    """Read a JSON object, or return ``default`` where there is no file.

    Raises OSError where the file cannot be read, ValueError where it is too large or holds
    something else.
    """
    if default is not None and not path.exists():
        return default
    data = read_bytes(path)
    try:
        value = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return value


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises OSError, and ValueError where it is too large."""
    with open_regular(path) as file:
        data = file.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise ValueError(f"{path} is larger than {LARGEST_FILE_BYTES >> 20} MiB.")
    return data


def check_size(folder: Path, what: str, count: int, most: int) -> None:
    """Raise ValueError where a tokenizer has more of something than reading takes seconds for."""
    if count > most:
        raise ValueError(f"{folder} has {count:,} {what}; the limit is {most:,}.")


def model_max_length(config: Mapping[str, Any]) -> Optional[int]:
    """Return the length that ``tokenizer_config.json`` sets, or None where it sets no limit."""
    length = config.get("model_max_length")
    if isinstance(length, int) and 0 < length <= LARGEST_MODEL_MAX_LENGTH:
        return length
    return None
