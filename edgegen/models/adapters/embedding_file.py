"""A textual inversion: words that a text encoder learned, each of them one vector or several.

| written by | keys |
|---|---|
| diffusers, `learned_embeds.safetensors` | the word itself: (width,) or (vectors, width) |
| Automatic1111's web UI | `emb_params`: the file's name is the word |
| trainers of SDXL | `clip_l`, `clip_g`: the first and the second text encoder's vectors |

A word of several vectors has that many tokens: `word`, `word_1`, `word_2`, as in diffusers'
`load_textual_inversion`, and whoever draws puts all of them in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegen.core.errors import ConfigError, SourceError
from edgegen.models.adapters.adapter_file import find_file
from edgegen.models.safetensors import SafetensorsFile, TensorEntry, read_tensor
from edgegen.models.weights import check_finite, to_numpy

_WITHOUT_WORD = "emb_params"
_OF_ENCODERS: Mapping[str, int] = {"clip_l": 0, "clip_g": 1}
"""Key → which of a pipeline's text encoders it is for."""
_MOST_VECTORS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFile:
    """A textual inversion whose header is sound.

    `keys` are those of its vectors by the number of the text encoder that they are for; None stands
    for whichever has their width. `word` is what the file calls itself, None where it doesn't.
    """

    path: Path
    word: str | None
    keys: Mapping[int | None, str]
    entries: Mapping[str, TensorEntry]

    @classmethod
    def open(cls, path: Path) -> EmbeddingFile:
        """Read the header of a textual inversion. Raises SourceError for what is none."""
        entries = SafetensorsFile.open(path).entries
        for key, entry in entries.items():
            if len(entry.shape) not in (1, 2) or 0 in entry.shape:
                raise _no_embedding(path, f"'{key}' has the shape {entry.shape}")
            if len(entry.shape) == 2 and entry.shape[0] > _MOST_VECTORS:
                raise _no_embedding(path, f"'{key}' would be {entry.shape[0]:,} tokens")
        if entries and entries.keys() <= _OF_ENCODERS.keys():
            keys: dict[int | None, str] = {
                number: key for key, number in _OF_ENCODERS.items() if key in entries
            }
            return cls(path=path, word=None, keys=keys, entries=entries)
        if len(entries) != 1:
            shown = ", ".join(f"'{key}'" for key in list(entries)[:3]) or "none"
            raise _no_embedding(path, f"it has {len(entries):,} tensors: {shown}")
        (key,) = entries
        word = None if key == _WITHOUT_WORD else key
        return cls(path=path, word=word, keys={None: key}, entries=entries)

    def vectors(self, key: str) -> int:
        """Return how many vectors a tensor holds."""
        shape = self.entries[key].shape
        return shape[0] if len(shape) == 2 else 1

    def width(self, key: str) -> int:
        """Return how wide a tensor's vectors are."""
        return self.entries[key].shape[-1]

    def read(self, key: str) -> NDArray[np.float32]:
        """Read the vectors of a tensor, (vectors, width). Raises SourceError."""
        entry = self.entries[key]
        array: NDArray[np.float32] = to_numpy(entry, read_tensor(entry), np.float32)
        check_finite(f"{self.path.name}: {key}", array)
        return array.reshape(self.vectors(key), self.width(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingChoice:
    """A textual inversion that is wanted, and the words that it is to have; () for its own."""

    file: Path
    words: tuple[str, ...] = ()


def parse_embedding(text: str) -> EmbeddingChoice:
    """Return what `FILE`, `FILE:WORD` or `FILE:WORD,WORD` names.

    Raises ConfigError for a word that is none, SourceError for a file that isn't there.
    """
    name, colon, given = text.rpartition(":")
    if not colon or not name or Path(text).expanduser().exists():
        return EmbeddingChoice(file=find_file(text))
    words = tuple(word.strip() for word in given.split(","))
    if not all(words) or any(word.split() != [word] for word in words):
        raise ConfigError(
            f"--embedding {text}: '{given}' is no word.", hint="Write --embedding 'FILE:<toy>'."
        )
    return EmbeddingChoice(file=find_file(name), words=words)


def tokens_of(file: EmbeddingFile, key: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the token of each vector: one word for all, or as many words as there are vectors.

    Raises ConfigError for another number of words.
    """
    count = file.vectors(key)
    if len(words) <= 1:
        word = words[0] if words else file.word or file.path.stem
        return (word, *(f"{word}_{number}" for number in range(1, count)))
    if len(words) != count:
        raise ConfigError(
            f"{file.path} holds {count} vectors, and {len(words)} words are given for them.",
            hint="Give one word, or one for each vector.",
        )
    return words


def _no_embedding(path: Path, why: str) -> SourceError:
    return SourceError(
        f"{path} is no textual inversion: {why}.",
        hint="--embedding takes diffusers' learned_embeds.safetensors, and the .safetensors of "
        "Automatic1111 and SDXL; a LoRA goes to --lora.",
    )
