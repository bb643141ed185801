"""CLIP's byte-pair encoding in standard-library Python.

Agrees with ``CLIPTokenizer`` of transformers 5, which runs on the ``tokenizers`` library: the same
text gives the same ids, unknown characters and special tokens in the text included.

One difference is left. Python's ``unicodedata`` and the tables in ``tokenizers`` know different
versions of Unicode (13 in Python 3.9, 14 in 3.11, about 16 there), so a letter or digit that a
Python does not know yet counts as a symbol here: it is not lower-cased, and it is grouped with the
symbols beside it. Emoji are symbols to both, so new ones agree.
"""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path

from . import Encoded, check_unicode
from .added_tokens import WHITESPACE, AddedToken, Matcher, added_ids
from .clip_files import read_tokenizer_files

_END_OF_WORD = "</w>"
_LARGEST_CACHE = 16_384

_SPELLED_SPECIALS = ("<|startoftext|>", "<|endoftext|>")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


class ClipTokenizer:
    """Turn prompts into the token ids that CLIP's text encoders take."""

    def __init__(
        self,
        *,
        vocab: Mapping[str, int],
        merges: Sequence[tuple[str, str]],
        added_tokens: Sequence[AddedToken],
        bos_token: str,
        eos_token: str,
        unk_token: str,
        pad_token: str,
        model_max_length: int | None,
    ) -> None:
        """Take a vocabulary, its merges (best first) and the tokens looked for in the raw text.

        Raises ValueError when a merge or a special token is not in the vocabulary.
        """
        self._vocab = vocab
        self._merges = _merge_table(vocab, merges)
        ids_added = added_ids(vocab, added_tokens)
        self._added = frozenset(ids_added)
        self._as_written = Matcher(added_tokens, ids_added)
        self._normalized = Matcher(added_tokens, ids_added, _normalize)
        self._tokens = {**{i: t for t, i in vocab.items()}, **{i: t for t, i in ids_added.items()}}
        if unk_token not in vocab:  # the BPE model itself needs it, so an added token is not enough
            raise ValueError(f"The unknown token {unk_token!r} is not in the vocabulary.")
        self._unk_id = vocab[unk_token]
        specials = {**vocab, **ids_added}
        for token in (bos_token, eos_token, pad_token):
            if token not in specials:
                raise ValueError(f"The special token {token!r} is not in the vocabulary.")
        self.bos_id = specials[bos_token]
        self.eos_id = specials[eos_token]
        self.pad_id = specials[pad_token]
        self.model_max_length = model_max_length
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> ClipTokenizer:
        """Load a diffusers tokenizer folder.

        Raises FileNotFoundError when the folder has no vocabulary, ValueError when a file in it is
        broken.
        """
        files = read_tokenizer_files(folder)
        return cls(
            vocab=files.vocab,
            merges=files.merges,
            added_tokens=files.added_tokens,
            bos_token=files.special_tokens["bos_token"],
            eos_token=files.special_tokens["eos_token"],
            unk_token=files.special_tokens["unk_token"],
            pad_token=files.special_tokens["pad_token"],
            model_max_length=files.model_max_length,
        )

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without start, end and padding.

        Raises ValueError when the text holds half of a surrogate pair, which UTF-8 cannot carry.
        """
        check_unicode(text)
        return [token_id for _, ids in self._pieces(text) for token_id in ids]

    def expand(self, prompt: str) -> str:
        """Return a prompt in which a learned concept of several vectors has all its tokens.

        ``<toy>`` becomes ``<toy> <toy>_1 <toy>_2``, as far as there are such tokens. The same as
        diffusers' ``maybe_convert_prompt`` (loaders/textual_inversion.py), which goes through the
        tokens in no order; here it is that of the prompt. Raises ValueError as `encode` does.
        """
        tokens: dict[str, None] = {}
        for added, ids in self._pieces(prompt):
            tokens.update(dict.fromkeys([added] if added else [self._tokens[i] for i in ids]))
        for token in tokens:
            if token not in self._added:
                continue
            more = takewhile(self._added.__contains__, (f"{token}_{i}" for i in count(1)))
            prompt = prompt.replace(token, " ".join([token, *more]))
        return prompt

    def __call__(self, text: str, length: int | None = None) -> Encoded:
        """Return the ids of a prompt, cut or padded to ``length`` (the model's own when not given).

        The same as ``CLIPTokenizer(text, padding="max_length", truncation=True,
        max_length=length)``. Raises ValueError when neither the caller nor the folder names a
        length, or when it has no room for start and end.
        """
        length = self.model_max_length if length is None else length
        if length is None:
            raise ValueError("The tokenizer's files set no model_max_length: pass length.")
        if length < 2:
            raise ValueError(f"A length of {length} has no room for the start and end tokens.")
        ids = self.encode(text)
        return self.framed(ids[: length - 2], length, self.decode(ids[length - 2 :]))

    def framed(self, ids: Sequence[int], length: int, cut: str = "") -> Encoded:
        """Return ids with a start, an end and padding up to ``length``."""
        padding = [self.pad_id] * (length - 2 - len(ids))
        mask = (1,) * (len(ids) + 2) + (0,) * len(padding)
        return Encoded((self.bos_id, *ids, self.eos_id, *padding), mask, cut)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that ids stand for, normalized as the vocabulary spells it.

        Raises ValueError for an id that is in no vocabulary.
        """
        data = bytearray()
        for token_id in ids:
            token = self._tokens.get(token_id)
            if token is None:
                raise ValueError(f"Token id {token_id} is not in the vocabulary.")
            try:
                data.extend([_CHARACTER_BYTE[character] for character in token])
            except KeyError:  # an added token is spelled in plain text
                data.extend(token.encode("utf-8"))
        return data.decode("utf-8", errors="replace").replace(_END_OF_WORD, " ").strip()

    def _pieces(self, text: str) -> Iterator[tuple[str, Sequence[int]]]:
        """Yield the ids of a text: one of an added token, as it is spelled there; those of a word.

        Of a word the spelling is "".
        """
        for piece, added_id in self._as_written.split(text):
            if added_id is not None:
                yield piece, (added_id,)
                continue
            for part, part_id in self._normalized.split(_normalize(piece)):
                if part_id is not None:
                    yield part, (part_id,)
                    continue
                for word in _words(part):
                    yield "", self._encode_word(word)

    def _encode_word(self, word: str) -> list[int]:
        cached = self._cache.get(word)
        if cached is None:
            if len(self._cache) >= _LARGEST_CACHE:
                self._cache.clear()
            symbols = [_BYTE_CHARACTER[byte] for byte in word.encode("utf-8")]
            symbols[-1] += _END_OF_WORD
            cached = _apply_merges(
                [self._vocab.get(s, self._unk_id) for s in symbols], self._merges
            )
            self._cache[word] = cached
        return cached


def _byte_characters() -> dict[int, str]:
    """Return GPT-2's printable stand-in for each byte (openai/gpt-2, src/encoder.py)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {
        **{byte: chr(byte) for byte in printable},
        **{byte: chr(256 + index) for index, byte in enumerate(others)},
    }


_BYTE_CHARACTER = _byte_characters()
_CHARACTER_BYTE = {character: byte for byte, character in _BYTE_CHARACTER.items()}


def _merge_table(
    vocab: Mapping[str, int], merges: Sequence[tuple[str, str]]
) -> dict[tuple[int, int], tuple[int, int]]:
    """Return (left id, right id) -> (rank, merged id)."""
    try:
        return {
            (vocab[left], vocab[right]): (rank, vocab[left + right])
            for rank, (left, right) in enumerate(merges)
        }
    except KeyError as error:
        raise ValueError(f"A merge needs the token {error}, not in the vocabulary.") from error


def _normalize(text: str) -> str:
    """Return the text composed (NFC), with single spaces, in lower case.

    Lower case is taken character by character, as tokenizers does, so a final capital sigma stays
    "σ".
    """
    text = WHITESPACE.sub(" ", unicodedata.normalize("NFC", text))
    return text.lower() if text.isascii() else "".join([character.lower() for character in text])


def _kind(character: str) -> str:
    category = unicodedata.category(character)[0]
    return category if category in "LN" else "symbol"


def _words(text: str) -> Iterator[str]:
    r"""Yield the words of a normalized text.

    CLIP finds
    ``<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+``,
    and tokenizers then splits each match at GPT-2's pattern, which only takes the two spelled-out
    specials apart. ``re`` has no ``\p{L}``, so this scans.
    """
    position = 0
    while position < len(text):
        character = text[position]
        if character == " ":
            position += 1
            continue
        if character == "<":
            special = next((s for s in _SPELLED_SPECIALS if text.startswith(s, position)), None)
            if special:
                yield from ("<|", special[2:-2], "|>")
                position += len(special)
                continue
        if character == "'":
            ending = next((c for c in _CONTRACTIONS if text.startswith(c, position)), None)
            if ending:
                yield ending
                position += len(ending)
                continue
        kind = _kind(character)
        end = position + 1
        if kind != "N":  # each digit is a word
            while end < len(text) and text[end] != " " and _kind(text[end]) == kind:
                end += 1
        yield text[position:end]
        position = end


def _apply_merges(ids: list[int], merges: Mapping[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Merge the best-ranked pair, leftmost first, until none is left.

    Source: tokenizers, src/models/bpe/word.rs.
    """
    following = [*range(1, len(ids)), -1]
    previous = list(range(-1, len(ids) - 1))
    alive = [True] * len(ids)
    queue: list[tuple[int, int, int]] = []  # (rank, index of the left symbol, merged id)

    def offer(left: int, right: int) -> None:
        merge = merges.get((ids[left], ids[right])) if left >= 0 and right >= 0 else None
        if merge:
            heapq.heappush(queue, (merge[0], left, merge[1]))

    for left in range(len(ids) - 1):
        offer(left, left + 1)
    while queue:
        _, left, merged_id = heapq.heappop(queue)
        right = following[left]
        if not alive[left] or right < 0:
            continue
        current = merges.get((ids[left], ids[right]))
        if current is None or current[1] != merged_id:
            continue  # one of the two was merged into something else meanwhile
        ids[left] = merged_id
        alive[right] = False
        following[left] = following[right]
        if following[left] >= 0:
            previous[following[left]] = left
        offer(previous[left], left)
        offer(left, following[left])
    return [token_id for token_id, kept in zip(ids, alive) if kept]
