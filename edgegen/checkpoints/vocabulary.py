"""CLIP's vocabulary, which no checkpoint holds: written as the files of a tokenizer.

`clip-merges.txt.xz` has the 48,894 merges of OpenAI's `bpe_simple_vocab_16e6.txt` that CLIP uses,
as open_clip 3.3.0 ships it (MIT, see NOTICE). The tokens follow from them: 256 bytes, the same at
a word's end, what each merge makes, and the two marks (`SimpleTokenizer` of openai/CLIP).
"""

from __future__ import annotations

import json
import lzma
from functools import cache
from pathlib import Path

SIZE = 49_408
"""Tokens of CLIP."""

_MERGES = Path(__file__).with_name("clip-merges.txt.xz")
_START, _END = "<|startoftext|>", "<|endoftext|>"
_HEAD = "#version: 0.2"


@cache
def merges() -> tuple[str, ...]:
    """Return the merges of CLIP's byte-pair encoding, two tokens each, in order."""
    return tuple(lzma.decompress(_MERGES.read_bytes()).decode().splitlines())


def vocabulary() -> dict[str, int]:
    """Return CLIP's tokens, and their numbers."""
    letters = [_letter(byte) for byte in _order()]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges()]
    return {token: number for number, token in enumerate((*tokens, _START, _END))}


def write_tokenizer(folder: Path, *, pad_token: str) -> None:
    """Write the four files of CLIP's tokenizer into a folder that is there."""
    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": pad_token}
    settings = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": 77,
        "tokenizer_class": "CLIPTokenizer",
    }
    _write(folder / "vocab.json", vocabulary())
    _write(folder / "special_tokens_map.json", special)
    _write(folder / "tokenizer_config.json", special | settings)
    lines = "\n".join((_HEAD, *merges()))
    (folder / "merges.txt").write_text(f"{lines}\n", encoding="utf-8")


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")


def _order() -> list[int]:
    """Return the bytes in CLIP's order: those that are printed first, then the others."""
    printed = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*printed, *(byte for byte in range(0x100) if byte not in printed)]


def _letter(byte: int) -> str:
    """Return the letter that stands for a byte; those that aren't printed follow Latin-1."""
    printed = _order()[:188]
    if byte in printed:
        return chr(byte)
    return chr(0x100 + _order().index(byte) - len(printed))
