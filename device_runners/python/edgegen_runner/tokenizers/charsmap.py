"""SentencePiece's compiled normalization (``nmt_nfkc`` for T5), applied as ``tokenizers`` does.

The map is a double array of 32-bit units, which finds the entries that a text begins with, and the
texts that they become, separated by NUL. Sources: google/sentencepiece, src/normalizer.cc and
third_party/darts_clone; huggingface/spm_precompiled, src/lib.rs; huggingface/tokenizers,
tokenizers/src/normalizers/precompiled.rs.

tokenizers looks a whole grapheme cluster of up to five bytes up, and replaces all of it by what its
*shortest* entry becomes; longer clusters are mapped character by character. So it differs from
SentencePiece itself, which replaces the longest entry wherever it begins: "①" with an accent loses
the accent. What diffusers draws comes from tokenizers, so this does the same.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Iterator
from typing import Optional

_LARGEST_CACHE = 16_384
_MOST_CLUSTER_BYTES = 5
_MARKS = ("Mn", "Me", "Mc")
_CONTROLS = ("Cc", "Cf", "Zl", "Zp", "Cs")
# Of Unicode's Grapheme_Cluster_Break what categories do not tell.
_PREPENDED = frozenset(
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd"
    "\U000111c2\U000111c3\U0001193f\U00011941\U00011a3a\U00011d46\U00011f02"
)
_ALSO_EXTEND = frozenset(
    "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
)
_TAGS = ("\U000e0020", "\U000e007f")
_DO_NOT_EXTEND = frozenset(
    "\u102b\u102c\u1038\u1062\u1063\u1064\u1067\u1068\u1069\u106a\u106b\u106c\u106d\u1083\u1087"
    "\u1088\u1089\u108a\u108b\u108c\u108f\u109a\u109b\u109c\u1a61\u1a63\u1a64\uaa7b\uaa7d"
    "\U00011720\U00011721"
)


class CharsMap:
    """Normalizes texts by a compiled map."""

    def __init__(self, data: bytes) -> None:
        """Take the map's bytes. Raises ValueError where they are broken."""
        if len(data) < 4:
            raise ValueError("the normalization's map is too short")
        (size,) = struct.unpack_from("<I", data)
        if size % 4 or not 0 < size <= len(data) - 4:
            raise ValueError(
                f"the normalization's map has {len(data)} bytes, {size} of them in a trie"
            )
        self._units = memoryview(data)[4 : 4 + size]
        self._count = size // 4
        self._texts = data[4 + size :]
        self._cache: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text normalized. Raises ValueError where the map is broken."""
        return "".join([self._normalized(cluster) for cluster in _clusters(text)])

    def _normalized(self, cluster: str) -> str:
        cached = self._cache.get(cluster)
        if cached is None:
            cached = self._find(cluster)
            if cached is None:
                parts = [(character, self._find(character)) for character in cluster]
                cached = "".join([part if it is None else it for part, it in parts])
            if len(self._cache) >= _LARGEST_CACHE:
                self._cache.clear()
            if len(cluster) <= _MOST_CLUSTER_BYTES:
                self._cache[cluster] = cached
        return cached

    def _find(self, part: str) -> Optional[str]:
        """Return what a text of up to five bytes becomes by the shortest entry that it begins with.

        None where there is none.
        """
        if len(part) > _MOST_CLUSTER_BYTES:
            return None
        key = part.encode("utf-8")
        if len(key) > _MOST_CLUSTER_BYTES:
            return None
        node, unit = 0, self._unit(0)
        node ^= _offset(unit)
        for byte in key:
            node ^= byte
            unit = self._unit(node)
            if byte == 0 or unit & 0x800000FF != byte:
                return None
            node ^= _offset(unit)
            if unit >> 8 & 1:
                return self._text(self._unit(node) & 0x7FFFFFFF)
        return None

    def _unit(self, node: int) -> int:
        if node >= self._count:
            return 0x80000000  # the label of no byte
        (unit,) = struct.unpack_from("<I", self._units, 4 * node)
        return int(unit)

    def _text(self, start: int) -> str:
        end = self._texts.find(b"\0", start)
        try:
            return self._texts[start : end if end >= 0 else None].decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"the tokenizer's normalization is broken: {error}") from error


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 1 << 9) >> 6)


def _clusters(text: str) -> Iterator[str]:
    """Yield grapheme clusters (Unicode, Standard Annex 29).

    Left out is what joins characters of three bytes and more, because clusters of more than five
    bytes are mapped character by character: syllables of Hangul jamo, flags, joined emoji.
    """
    start = 0
    for end in range(1, len(text)):
        if _breaks(text[end - 1], text[end]):
            yield text[start:end]
            start = end
    if text:
        yield text[start:]


def _breaks(left: str, right: str) -> bool:
    if right < "\u0300" and left not in _PREPENDED:
        return not (left == "\r" and right == "\n")
    if _is_control(left) or _is_control(right):
        return True
    return left not in _PREPENDED and not _extends(right)


def _extends(character: str) -> bool:
    if unicodedata.category(character) in _MARKS:
        return character not in _DO_NOT_EXTEND
    return character in _ALSO_EXTEND or _TAGS[0] <= character <= _TAGS[1]


def _is_control(character: str) -> bool:
    return (
        unicodedata.category(character) in _CONTROLS
        and character not in _PREPENDED
        and not _extends(character)
    )
