"""Prompts to token ids, in standard-library Python: one file a kind of tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Protocol

TOKENIZERS: dict[str, str] = {
    "clip": "clip:ClipTokenizer",
    "t5": "t5:T5Tokenizer",
}
"""Kind -> module and class in this package."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as the text encoder takes it."""

    ids: tuple[int, ...]
    """Token ids: the prompt with its start and end tokens, then padding, up to the length."""
    mask: tuple[int, ...]
    """The attention mask: 1 for a token of the prompt, 0 for padding."""
    truncated_text: str
    """The end of the prompt that did not fit, as the vocabulary spells it; empty if all fits."""


class Tokenizer(Protocol):
    """Turns prompts into token ids."""

    @property
    def model_max_length(self) -> Optional[int]:
        """Return the length that the tokenizer's files set."""

    def expand(self, prompt: str) -> str:
        """Return a prompt in which a learned concept of several vectors has all its tokens."""

    def __call__(self, text: str, length: Optional[int] = None) -> Encoded:
        """Return the ids of a prompt, cut or padded to ``length``. Raises ValueError."""


def check_unicode(text: str) -> None:
    """Raise ValueError for half of a surrogate pair, which UTF-8 cannot carry."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"The text is not valid Unicode: {error}.") from error


def load_tokenizer(kind: str, folder: Path) -> Tokenizer:
    """Read the tokenizer of a diffusers folder.

    Raises FileNotFoundError where its vocabulary is missing, ValueError where a file is broken.
    """
    module, _, name = TOKENIZERS[kind].partition(":")
    tokenizer_class: Any = getattr(import_module(f".{module}", __name__), name)
    tokenizer: Tokenizer = tokenizer_class.from_folder(folder)
    return tokenizer
