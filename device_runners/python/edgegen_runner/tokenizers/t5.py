"""T5's unigram model in standard-library Python.

Agrees with ``T5Tokenizer`` of transformers 5, which runs on the ``tokenizers`` library: the same
text gives the same ids, unknown characters and special tokens in the text included. SentencePiece
itself (transformers 4) normalizes a few rare texts differently; see `charsmap`.

One difference is left: a combining mark that this Python's ``unicodedata`` does not know yet does
not join the letter before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from . import Encoded, check_unicode
from .added_tokens import WHITESPACE, AddedToken, Matcher, added_ids
from .charsmap import CharsMap
from .t5_files import UNKNOWN_ID, Pieces, read_t5_files

_SPACE = "▁"
_WORD_PARTS = re.compile(f"{_SPACE}[^{_SPACE}]*")
_UNKNOWN_PENALTY = 10.0
_LARGEST_CACHE = 16_384
_LONGEST_CACHED = 64


class T5Tokenizer:
    """Turn prompts into the token ids that T5's text encoders take."""

    def __init__(
        self,
        *,
        pieces: Pieces,
        charsmap: bytes,
        added_tokens: Sequence[AddedToken],
        eos_token: str,
        pad_token: str,
        model_max_length: Optional[int],
    ) -> None:
        """Take a vocabulary with scores, a compiled normalization (or b"") and the added tokens.

        Raises ValueError where the normalization is broken or a special token is missing.
        """
        vocab = {piece: token_id for token_id, (piece, _) in enumerate(pieces)}
        self._normalize: Callable[[str], str] = CharsMap(charsmap) if charsmap else str
        self._model = _Unigram(vocab, [score for _, score in pieces])
        ids = added_ids(vocab, added_tokens)
        self._as_written = Matcher(added_tokens, ids)
        self._normalized = Matcher(added_tokens, ids, self._normalize)
        self._tokens = {**{i: t for t, i in vocab.items()}, **{i: t for t, i in ids.items()}}
        specials = {**vocab, **ids}
        for token in (eos_token, pad_token):
            if token not in specials:
                raise ValueError(f"The special token {token!r} is not in the vocabulary.")
        self.eos_id = specials[eos_token]
        self.pad_id = specials[pad_token]
        self.model_max_length = model_max_length

    @classmethod
    def from_folder(cls, folder: Path) -> T5Tokenizer:
        """Load a diffusers tokenizer folder.

        Raises FileNotFoundError when the folder has no vocabulary, ValueError when a file in it is
        broken.
        """
        files = read_t5_files(folder)
        return cls(
            pieces=files.pieces,
            charsmap=files.charsmap,
            added_tokens=files.added_tokens,
            eos_token=files.special_tokens["eos_token"],
            pad_token=files.special_tokens["pad_token"],
            model_max_length=files.model_max_length,
        )

    def expand(self, prompt: str) -> str:
        """Return the prompt: diffusers' pipelines with T5 read no textual inversions."""
        return prompt

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without the end and padding.

        Raises ValueError when the text holds half of a surrogate pair, which UTF-8 cannot carry.
        """
        check_unicode(text)
        return list(self._ids(text))

    def __call__(self, text: str, length: Optional[int] = None) -> Encoded:
        """Return the ids of a prompt, cut or padded to ``length`` (the model's own when not given).

        The same as ``T5Tokenizer(text, padding="max_length", truncation=True,
        max_length=length)``. Raises ValueError when neither the caller nor the folder names a
        length, or when it has no room for the end.
        """
        length = self.model_max_length if length is None else length
        if length is None:
            raise ValueError("The tokenizer's files set no model_max_length: pass length.")
        if length < 1:
            raise ValueError(f"A length of {length} has no room for the end token.")
        ids = self.encode(text)
        kept, cut = ids[: length - 1], ids[length - 1 :]
        padding = length - 1 - len(kept)
        return Encoded(
            (*kept, self.eos_id, *[self.pad_id] * padding),
            (1,) * (len(kept) + 1) + (0,) * padding,
            self.decode(cut),
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for, normalized. Raises ValueError for an unknown id."""
        for token_id in ids:
            if token_id not in self._tokens:
                raise ValueError(f"Token id {token_id} is not in the vocabulary.")
        return "".join([self._tokens[i] for i in ids]).replace(_SPACE, " ").strip()

    def _ids(self, text: str) -> Iterator[int]:
        for piece, added_id in self._as_written.split(text):
            if added_id is not None:
                yield added_id
                continue
            for part, part_id in self._normalized.split(self._normalize(piece)):
                if part_id is not None:
                    yield part_id
                    continue
                for word in filter(None, WHITESPACE.split(part)):
                    spelled = word if word.startswith(_SPACE) else _SPACE + word
                    for token in _WORD_PARTS.findall(spelled):
                        yield from self._model.encode(token)


class _Unigram:
    """The most probable way to spell a word by pieces.

    Source: tokenizers, src/models/unigram/model.rs, ``encode_optimized``. Time is linear in the
    word's length.
    """

    def __init__(self, vocab: Mapping[str, int], scores: Sequence[float]) -> None:
        self._scored = {piece: (token_id, scores[token_id]) for piece, token_id in vocab.items()}
        self._unknown_score = min(scores) - _UNKNOWN_PENALTY
        lengths: dict[str, set[int]] = {}
        for piece in filter(None, vocab):
            lengths.setdefault(piece[0], set()).add(len(piece))
        self._lengths = {first: sorted(them) for first, them in lengths.items()}
        self._cache: dict[str, list[int]] = {}

    def encode(self, word: str) -> list[int]:
        """Return the ids of a word's pieces; neighbours that are unknown count as one."""
        cached = self._cache.get(word)
        if cached is None:
            cached = self._encode(word)
            if len(self._cache) >= _LARGEST_CACHE:
                self._cache.clear()
            if len(word) <= _LONGEST_CACHED:
                self._cache[word] = cached
        return cached

    def _encode(self, word: str) -> list[int]:
        # where the best way to a position came from, with what, and how good it is
        best: list[Optional[tuple[float, int, int]]] = [None] * (len(word) + 1)
        best[0] = (0.0, 0, UNKNOWN_ID)
        for start, first in enumerate(word):
            here = best[start]
            assert here is not None  # each character can be unknown
            found_one = False
            for length in self._lengths.get(first, ()):
                scored = self._scored.get(word[start : start + length])
                if scored is None or start + length > len(word):
                    continue
                found_one = found_one or length == 1
                self._offer(best, here[0] + scored[1], start, start + length, scored[0])
            if not found_one:
                self._offer(best, here[0] + self._unknown_score, start, start + 1, UNKNOWN_ID)
        ids: list[int] = []
        end = len(word)
        while end > 0:
            step = best[end]
            assert step is not None
            if not (step[2] == UNKNOWN_ID and ids and ids[-1] == UNKNOWN_ID):
                ids.append(step[2])
            end = step[1]
        return ids[::-1]

    @staticmethod
    def _offer(
        best: list[Optional[tuple[float, int, int]]], score: float, start: int, end: int, token: int
    ) -> None:
        there = best[end]
        if there is None or score > there[0]:
            best[end] = (score, start, token)
