"""A SentencePiece model file: a vocabulary with scores, and the rules that normalize a text.

Source: google/sentencepiece, src/sentencepiece_model.proto. The file is a protocol buffer; what it
holds besides is skipped.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from .files import LONGEST_TOKEN, MOST_TOKENS

_UNIGRAM = 1
_CONTROL, _USER_DEFINED = 3, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
Value = Union[int, bytes]


@dataclass(frozen=True)
class SentencePieceModel:
    """What a tokenizer takes of the file."""

    pieces: tuple[tuple[str, float], ...]
    """Each token and the logarithm of its probability, by id."""
    symbols: tuple[str, ...]
    """Tokens that are found in the text as they are written: control and user-defined ones."""
    charsmap: bytes
    """The compiled normalization; empty where there is none."""


def read_model(data: bytes) -> SentencePieceModel:
    """Read a model file. Raises ValueError where it is broken, or isn't a unigram model."""
    pieces: list[tuple[str, float]] = []
    symbols: list[str] = []
    charsmap, kind = b"", _UNIGRAM
    for number, value in _fields(data):
        if number == 1:
            piece, score, piece_type = _piece(_bytes(value))
            if len(pieces) == MOST_TOKENS:
                raise ValueError(f"it has more than {MOST_TOKENS:,} pieces")
            pieces.append((piece, score))
            if piece_type in (_CONTROL, _USER_DEFINED):
                symbols.append(piece)
        elif number == 2:
            for option, choice in _fields(_bytes(value)):
                kind = _number(choice) if option == 3 else kind
        elif number == 3:
            for option, choice in _fields(_bytes(value)):
                charsmap = _bytes(choice) if option == 2 else charsmap
    if kind != _UNIGRAM:
        raise ValueError(f"its model type is {kind}, and only unigram models (1) are read")
    return SentencePieceModel(tuple(pieces), tuple(symbols), charsmap)


def _piece(data: bytes) -> tuple[str, float, int]:
    piece, score, piece_type = "", 0.0, 1
    for number, value in _fields(data):
        if number == 1:
            piece = _bytes(value).decode("utf-8")
        elif number == 2:
            (score,) = struct.unpack("<f", struct.pack("<I", _number(value) & 0xFFFFFFFF))
        elif number == 3:
            piece_type = _number(value)
    if len(piece) > LONGEST_TOKEN:
        raise ValueError(f"a piece has {len(piece):,} letters; the limit is {LONGEST_TOKEN:,}")
    if not math.isfinite(score):
        raise ValueError(f"the score of {piece!r} is not a number")
    return piece, score, piece_type


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the fields of a message: their numbers and values, numbers or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value: Value
            value, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
            value, at = int.from_bytes(_slice(data, at, size), "little"), at + size
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value, at = _slice(data, at, size), at + size
        else:
            raise ValueError(f"a field has the wire type {kind}")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise ValueError("a number does not end")


def _slice(data: bytes, at: int, size: int) -> bytes:
    if size > len(data) - at:
        raise ValueError("it ends in the middle of a field")
    return data[at : at + size]


def _bytes(value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("a field holds a number where bytes are expected")


def _number(value: Value) -> int:
    if isinstance(value, int):
        return value
    raise ValueError("a field holds bytes where a number is expected")
