"""The files of a CLIP tokenizer folder: ``tokenizer.json``, else ``vocab.json`` and ``merges.txt``.

As ``CLIPTokenizer.from_pretrained`` of transformers 5 reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .added_tokens import AddedToken, read_added_tokens
from .files import (
    LONGEST_TOKEN,
    MOST_TOKENS,
    check_size,
    model_max_length,
    read_bytes,
    read_json_object,
)

_DEFAULT_SPECIAL_TOKENS = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
_LARGEST_ID = 1 << 31


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a tokenizer folder say."""

    vocab: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    """Pairs to merge, best first."""
    added_tokens: tuple[AddedToken, ...]
    special_tokens: Mapping[str, str]
    """bos_token, eos_token, unk_token and pad_token."""
    model_max_length: int | None
    """Tokens that the text encoder takes, with start and end; None where the files set no limit."""


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the vocabulary, the merges and the special tokens of a folder.

    Raises FileNotFoundError when the folder has no vocabulary, ValueError when a file in it is
    broken.
    """
    config = read_json_object(folder / "tokenizer_config.json", default={})
    serialized = read_json_object(folder / "tokenizer.json", default={})
    if serialized:
        vocab, merges = _read_serialized_model(folder / "tokenizer.json", serialized)
    else:
        vocab = read_json_object(folder / "vocab.json")
        merges = _read_merges(folder / "merges.txt")
    check_size(folder, "tokens", len(vocab), MOST_TOKENS)
    check_size(folder, "merges", len(merges), MOST_TOKENS)
    for token, i in vocab.items():
        if type(i) is not int or not 0 <= i < _LARGEST_ID:
            raise ValueError(
                f"{folder}: the vocabulary maps a token to something that is no number."
            )
        check_size(folder, "letters in a token", len(token), LONGEST_TOKEN)
    specials, added = read_added_tokens(folder, config, serialized, _DEFAULT_SPECIAL_TOKENS)
    return TokenizerFiles(vocab, merges, added, specials, model_max_length(config))


def _read_serialized_model(
    path: Path, serialized: Mapping[str, Any]
) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    model = serialized.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise ValueError(f"{path} holds no byte-pair encoding.")
    try:
        vocab: dict[str, int] = model["vocab"]
        if not isinstance(vocab, dict):
            raise ValueError("its vocabulary is no object")
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        return vocab, tuple((str(left), str(right)) for left, right in pairs)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has a broken model: {error!r}.") from error


def _read_merges(path: Path) -> tuple[tuple[str, str], ...]:
    merges = []
    # Split at "\n" only: str.splitlines() would also split at characters that tokens may hold.
    lines = read_bytes(path).decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.startswith("#version"):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise ValueError(f"{path}, line {number}: expected two tokens, found {line!r}.")
        merges.append((pair[0], pair[1]))
    return tuple(merges)
