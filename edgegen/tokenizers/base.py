"""What a file of this room declares: a kind of tokenizer, and what is done with its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _is_complete(_folder: Path) -> None:
    return None


def _nothing_is_missing(_folder: Path) -> int:
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A kind of tokenizer.

    `class_names` are those of transformers that `model_index.json` may name, and `files` what is
    read of its folder, fetched from a hub and copied into a package. `check` refuses files that are
    missing, broken or too large; `load` makes transformers' tokenizer of them, without a network;
    `added_tokens` are those that a user added, such as textual inversions. A package's folder is
    completed with files that other runtimes read, and `missing_bytes` is about how large those are.
    `add` puts tokens into a folder's files, and returns the number of the first; None where that
    kind of tokenizer takes none.
    """

    class_names: tuple[str, ...]
    files: tuple[str, ...]
    check: Callable[[Path], None]
    load: Callable[[Path], Any]
    added_tokens: Callable[[Path], tuple[str, ...]]
    complete: Callable[[Path], None] = _is_complete
    missing_bytes: Callable[[Path], int] = _nothing_is_missing
    add: Callable[[Path, Sequence[str]], int] | None = None
