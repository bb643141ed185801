"""The files of a T5 tokenizer folder: ``tokenizer.json``, else ``spiece.model``.

As ``T5Tokenizer.from_pretrained`` of transformers 5 reads them: of ``tokenizer.json`` it takes the
vocabulary and the compiled normalization, and what else is in there (other normalizers, another
pre-tokenizer, another unknown token) it replaces by T5's own.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .added_tokens import AddedToken, read_added_tokens
from .files import (
    LONGEST_TOKEN,
    MOST_TOKENS,
    check_size,
    model_max_length,
    read_bytes,
    read_json_object,
)
from .sentencepiece import read_model

_DEFAULT_SPECIAL_TOKENS = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_EXTRA_IDS = 100
"""T5's sentinels, ``<extra_id_0>`` to ``<extra_id_99>``."""
UNKNOWN_ID = 2

Pieces = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class T5Files:
    """What the files of a tokenizer folder say."""

    pieces: Pieces
    """Each token and the logarithm of its probability, by id."""
    charsmap: bytes
    """The compiled normalization; empty where there is none."""
    added_tokens: tuple[AddedToken, ...]
    special_tokens: Mapping[str, str]
    """eos_token, unk_token and pad_token."""
    model_max_length: Optional[int]
    """Tokens that the text encoder takes, with the end; None where the files set no limit."""


def read_t5_files(folder: Path) -> T5Files:
    """Read the vocabulary, the normalization and the special tokens of a folder.

    Raises FileNotFoundError when the folder has no vocabulary, ValueError when a file in it is
    broken.
    """
    config = read_json_object(folder / "tokenizer_config.json", default={})
    serialized = read_json_object(folder / "tokenizer.json", default={})
    extra = _extra_ids(folder, config)
    symbols: tuple[str, ...] = ()
    if serialized:
        pieces, charsmap = _read_serialized(folder / "tokenizer.json", serialized)
    else:
        pieces, symbols, charsmap = _read_sentencepiece(folder / "spiece.model")
    if not len(pieces) > UNKNOWN_ID:
        raise ValueError(f"{folder}: the vocabulary has {len(pieces)} tokens, too few for T5.")
    if not serialized:
        pieces += tuple((token, 0.0) for token in reversed(extra))
    check_size(folder, "tokens", len(pieces), MOST_TOKENS)
    for piece, _ in pieces:
        check_size(folder, "letters in a token", len(piece), LONGEST_TOKEN)
    specials, added = read_added_tokens(folder, config, serialized, _DEFAULT_SPECIAL_TOKENS)
    if not _lists_extra_tokens(folder, config):
        known = {token.content for token in added}
        more = (token for token in (*symbols, *extra) if token not in known)
        added += tuple(AddedToken(token, normalized=False) for token in dict.fromkeys(more))
    return T5Files(pieces, charsmap, added, specials, model_max_length(config))


def _extra_ids(folder: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    count = config.get("extra_ids", _EXTRA_IDS)
    if type(count) is not int or not 0 <= count <= MOST_TOKENS:
        raise ValueError(f"{folder}: 'extra_ids' is {count!r}, not a number of tokens.")
    return tuple(f"<extra_id_{index}>" for index in range(count))


def _lists_extra_tokens(folder: Path, config: Mapping[str, Any]) -> bool:
    """Return whether a file lists extra tokens: transformers then adds none of T5's own."""
    if "additional_special_tokens" in config:
        return True
    if "extra_special_tokens" in config:
        return isinstance(config["extra_special_tokens"], list)
    if "added_tokens_decoder" in config:
        return False
    specials = read_json_object(folder / "special_tokens_map.json", default={})
    return isinstance(specials.get("extra_special_tokens"), list)


def _read_sentencepiece(path: Path) -> tuple[Pieces, tuple[str, ...], bytes]:
    try:
        model = read_model(read_bytes(path))
    except ValueError as error:
        raise ValueError(f"{path} is not a SentencePiece model: {error}.") from error
    return model.pieces, model.symbols, model.charsmap


def _read_serialized(path: Path, serialized: Mapping[str, Any]) -> tuple[Pieces, bytes]:
    model = serialized.get("model")
    if not isinstance(model, dict) or model.get("type") != "Unigram":
        raise ValueError(f"{path} holds no unigram model.")
    try:
        pieces = tuple((str(token), float(score)) for token, score in model["vocab"])
        charsmap = next(_charsmaps(serialized.get("normalizer")), b"")
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} has a broken model: {error!r}.") from error
    if not all(math.isfinite(score) for _, score in pieces):
        raise ValueError(f"{path} has a broken model: a score is not a number.")
    return pieces, charsmap


def _charsmaps(normalizer: Any) -> Iterator[bytes]:
    if normalizer is None:
        return
    listed = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]
    for each in listed:
        if each.get("type") == "Precompiled" and each.get("precompiled_charsmap"):
            yield base64.b64decode(each["precompiled_charsmap"], validate=True)
