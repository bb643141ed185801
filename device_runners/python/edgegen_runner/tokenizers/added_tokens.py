"""Tokens that are looked for in a text before it is split into words.

A folder is read as ``from_pretrained`` of transformers 5 reads it
(src/transformers/tokenization_utils_base.py, ``_from_pretrained``): ``added_tokens_decoder`` in
``tokenizer_config.json`` comes before ``special_tokens_map.json`` and ``added_tokens.json``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from .files import LONGEST_TOKEN, MOST_ADDED_TOKENS, check_size, read_json_object

# What Rust's char::is_whitespace and Oniguruma's \s match. str.isspace() also has U+001C to U+001F.
WHITESPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")

# The order in which transformers adds them; of two definitions of a token, the last counts.
_SPECIAL_TOKEN_NAMES = (
    *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"),
)
_WORD_CATEGORIES = ("Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc")
_JOINERS = "\u200c\u200d"
_LETTERS_IN_FRAMES = (
    *(("\u24b6", "\u24e9"), ("\U0001f130", "\U0001f149"), ("\U0001f150", "\U0001f169")),
    ("\U0001f170", "\U0001f189"),
)


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


def added_ids(vocab: Mapping[str, int], tokens: Sequence[AddedToken]) -> dict[str, int]:
    """Return the ids of all added tokens.

    As in tokenizers: a token of the vocabulary keeps its id, and a new one gets the next free id.
    """
    ids: dict[str, int] = {}
    next_id = len(vocab)
    for token in tokens:
        if token.content not in ids:
            ids[token.content] = vocab.get(token.content, next_id)
            next_id = max(next_id, ids[token.content] + 1)
    return ids


class Matcher:
    """Finds added tokens in a text, the leftmost first, and of those the longest.

    Of several definitions of a token the last is the one that counts, as in tokenizers
    (src/tokenizer/added_vocabulary.rs).
    """

    def __init__(
        self,
        tokens: Sequence[AddedToken],
        ids: Mapping[str, int],
        normalize: Optional[Callable[[str], str]] = None,
    ) -> None:
        """Take the tokens that are looked for in the text as written or, with ``normalize``, those
        that are looked for in the normalized text.
        """
        last = {token.content: token for token in tokens if token.content}
        self._found = {
            normalize(content) if normalize else content: (ids[content], token)
            for content, token in last.items()
            if token.normalized == (normalize is not None)
        }
        longest_first = sorted(filter(None, self._found), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def split(self, text: str) -> Iterator[tuple[str, Optional[int]]]:
        """Yield the text in order, as added tokens with their id and the stretches between them."""
        start = 0
        for match in self._pattern.finditer(text) if self._pattern.pattern else ():
            token_id, token = self._found[match.group()]
            first, end = match.span()
            if token.single_word and (
                _is_word(text[first - 1 : first]) or _is_word(text[end : end + 1])
            ):
                continue
            while token.lstrip and first > start and WHITESPACE.match(text, first - 1):
                first -= 1
            if token.rstrip and (spaces := WHITESPACE.match(text, end)):
                end = spaces.end()
            yield text[start:first], None
            yield text[first:end], token_id
            start = end
        yield text[start:], None


def _is_word(character: str) -> bool:
    r"""Return whether a character is what Rust's regular expressions call ``\w``; "" isn't."""
    return character != "" and (
        unicodedata.category(character) in _WORD_CATEGORIES
        or character in _JOINERS
        or any(first <= character <= last for first, last in _LETTERS_IN_FRAMES)
    )


def read_added_tokens(
    folder: Path,
    config: Mapping[str, Any],
    serialized: Mapping[str, Any],
    defaults: Mapping[str, str],
) -> tuple[dict[str, str], tuple[AddedToken, ...]]:
    """Return the special tokens by name, and every added token in the order it is added.

    ``defaults`` are the special tokens that this kind of tokenizer needs, as they are spelled
    unless a file says otherwise. Raises ValueError where a file is broken.
    """
    try:
        return _read_added_tokens(folder, config, serialized, defaults)
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{folder}: the special tokens are broken: {error!r}.") from error


def _read_added_tokens(
    folder: Path,
    config: Mapping[str, Any],
    serialized: Mapping[str, Any],
    defaults: Mapping[str, str],
) -> tuple[dict[str, str], tuple[AddedToken, ...]]:
    settings: dict[str, Any] = {**defaults, **config}
    listed: dict[int, Any] = {}
    if "added_tokens_decoder" in config:
        listed = {int(i): token for i, token in config["added_tokens_decoder"].items()}
    else:
        overrides = read_json_object(folder / "special_tokens_map.json", default={})
        for name, value in overrides.items():
            is_token = isinstance(value, dict) and name != "extra_special_tokens"
            settings[name] = {**value, "special": True} if is_token else value
        special = {
            _added_token(folder, token).content for token in _special_tokens(folder, settings)
        }
        for content, i in read_json_object(folder / "added_tokens.json", default={}).items():
            listed[i] = {"content": content, "normalized": content not in special}
        listed.update({token["id"]: token for token in serialized.get("added_tokens", ())})

    check_size(folder, "added tokens", len(listed), MOST_ADDED_TOKENS)
    added = [_added_token(folder, token) for _, token in sorted(listed.items())]
    known = {token.content for token in added}
    named = {
        repr(token): each
        for token in _special_tokens(folder, settings)
        if (each := _added_token(folder, token)).content not in known
    }
    added.extend(named.values())
    for name in defaults:
        if settings[name] is None:
            raise ValueError(f"{folder}: {name} is null, and the text encoder needs one.")
    specials = {name: _added_token(folder, settings[name]).content for name in defaults}
    for each in added:
        check_size(folder, "letters in a token", len(each.content), LONGEST_TOKEN)
    return specials, tuple(added)


def _special_tokens(folder: Path, settings: Mapping[str, Any]) -> Iterator[Any]:
    for name in _SPECIAL_TOKEN_NAMES:
        if settings.get(name) is not None:
            yield settings[name]
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or ()
    check_size(folder, "added tokens", len(extra), MOST_ADDED_TOKENS)
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
