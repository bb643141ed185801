"""The files of a CLIP tokenizer folder.

A folder is read as ``CLIPTokenizer.from_pretrained`` of transformers 5 reads it
(src/transformers/tokenization_utils_base.py, ``_from_pretrained``): ``tokenizer.json`` comes before
``vocab.json`` and ``merges.txt``; ``added_tokens_decoder`` in ``tokenizer_config.json`` comes
before ``special_tokens_map.json`` and ``added_tokens.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen_runner.files import open_regular
from edgegen_runner.table import parse_json

# The order in which transformers adds them; of two definitions of a token, the last counts.
_SPECIAL_TOKEN_NAMES = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_DEFAULT_SPECIAL_TOKENS = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
}
# transformers writes int(1e30) for "no limit"; no text encoder reads a prompt of a million tokens.
_LARGEST_MODEL_MAX_LENGTH = 1_000_000

# CLIP has 49,408 tokens in 1.5 MB, and each vector of a textual inversion adds one. Within these
# limits a tokenizer is read in seconds.
_LARGEST_FILE_BYTES = 16 << 20
_MOST_TOKENS = 250_000
_MOST_ADDED_TOKENS = 10_000
_LONGEST_TOKEN = 1000
_LARGEST_ID = 1 << 31


@dataclass(frozen=True)
class AddedToken:
    """A token that is looked for in the text before it is split into words."""

    content: str
    normalized: bool
    """True: looked for in the normalized text. False: in the text as written."""
    single_word: bool = False
    """True: only where no letter, digit or underscore is beside it."""
    lstrip: bool = False
    rstrip: bool = False
    """True: the spaces on that side belong to it."""


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
    config = _read_json_object(folder / "tokenizer_config.json", default={})
    serialized = _read_json_object(folder / "tokenizer.json", default={})
    if serialized:
        vocab, merges = _read_serialized_model(folder / "tokenizer.json", serialized)
    else:
        vocab = _read_json_object(folder / "vocab.json")
        merges = _read_merges(folder / "merges.txt")
    _check_size(folder, "tokens", len(vocab), _MOST_TOKENS)
    _check_size(folder, "merges", len(merges), _MOST_TOKENS)
    for token, i in vocab.items():
        if type(i) is not int or not 0 <= i < _LARGEST_ID:
            raise ValueError(
                f"{folder}: the vocabulary maps a token to something that is no number."
            )
        _check_size(folder, "letters in a token", len(token), _LONGEST_TOKEN)
    try:
        specials, added = _read_special_tokens(folder, config, serialized)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder}: the special tokens are broken: {error!r}.") from error
    for each in added:
        _check_size(folder, "letters in a token", len(each.content), _LONGEST_TOKEN)
    length = config.get("model_max_length")
    if not isinstance(length, int) or not 0 < length <= _LARGEST_MODEL_MAX_LENGTH:
        length = None
    return TokenizerFiles(vocab, merges, added, specials, length)


def _read_json_object(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.exists():
        return default
    data = _read(path)
    try:
        value = parse_json(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return value


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(_LARGEST_FILE_BYTES + 1)
    if len(data) > _LARGEST_FILE_BYTES:
        raise ValueError(f"{path} is larger than {_LARGEST_FILE_BYTES >> 20} MiB.")
    return data


def _check_size(folder: Path, what: str, count: int, most: int) -> None:
    if count > most:
        raise ValueError(f"{folder} has {count:,} {what}; the limit is {most:,}.")


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
    lines = _read(path).decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.startswith("#version"):
            continue
        pair = line.rstrip("\r").split(" ")
        if len(pair) != 2:
            raise ValueError(f"{path}, line {number}: expected two tokens, found {line!r}.")
        merges.append((pair[0], pair[1]))
    return tuple(merges)


def _read_special_tokens(
    folder: Path, config: Mapping[str, Any], serialized: Mapping[str, Any]
) -> tuple[dict[str, str], tuple[AddedToken, ...]]:
    """Return the four special tokens by name, and every added token in the order it is added."""
    settings: dict[str, Any] = {**_DEFAULT_SPECIAL_TOKENS, **config}
    listed: dict[int, Any] = {}
    if "added_tokens_decoder" in config:
        listed = {int(i): token for i, token in config["added_tokens_decoder"].items()}
    else:
        overrides = _read_json_object(folder / "special_tokens_map.json", default={})
        for name, value in overrides.items():
            is_token = isinstance(value, dict) and name != "extra_special_tokens"
            settings[name] = {**value, "special": True} if is_token else value
        special = {
            _added_token(folder, token).content for token in _special_tokens(folder, settings)
        }
        for content, i in _read_json_object(folder / "added_tokens.json", default={}).items():
            listed[i] = {"content": content, "normalized": content not in special}
        listed.update({token["id"]: token for token in serialized.get("added_tokens", ())})

    _check_size(folder, "added tokens", len(listed), _MOST_ADDED_TOKENS)
    added = [_added_token(folder, token) for _, token in sorted(listed.items())]
    known = {token.content for token in added}
    named = {
        repr(token): each
        for token in _special_tokens(folder, settings)
        if (each := _added_token(folder, token)).content not in known
    }
    added.extend(named.values())
    for name in _DEFAULT_SPECIAL_TOKENS:
        if settings[name] is None:
            raise ValueError(f"{folder}: {name} is null, and CLIP needs one.")
    special_tokens = {n: _added_token(folder, settings[n]).content for n in _DEFAULT_SPECIAL_TOKENS}
    return special_tokens, tuple(added)


def _special_tokens(folder: Path, settings: Mapping[str, Any]) -> Iterator[Any]:
    for name in _SPECIAL_TOKEN_NAMES:
        if settings.get(name) is not None:
            yield settings[name]
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or ()
    _check_size(folder, "added tokens", len(extra), _MOST_ADDED_TOKENS)
    yield from extra.values() if isinstance(extra, dict) else extra


def _added_token(folder: Path, token: Any) -> AddedToken:
    """Return a token that a file writes as a string or as an object."""
    if isinstance(token, str):
        return AddedToken(token, normalized=False)
    if not isinstance(token, dict) or not isinstance(token.get("content"), str):
        raise ValueError(f"{folder}: a special token is neither a string nor an object: {token!r}.")
    is_normalized = token.get("normalized", not token.get("special", False))
    single_word, lstrip, rstrip = (
        bool(token.get(name)) for name in ("single_word", "lstrip", "rstrip")
    )
    return AddedToken(token["content"], bool(is_normalized), single_word, lstrip, rstrip)
