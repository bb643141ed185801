"""Which adapters a folder's model has: `adapters.json`, in folders that edgegen made in its cache.

A file of that name in any other folder means nothing: it could name any file of this machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import load_json
from edgegen.core.folders import cache_folder
from edgegen.core.model import Adapter

NAME = "adapters.json"
PLACE = "adapted"
IMAGE_ENCODER = "image_encoder"
"""The folder of what an IP-Adapter looks at pictures with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedLora:
    """An adapter, and what it changes: component's folder → weight's key → the file's module."""

    file: str
    sha256: str
    scale: float
    changes: Mapping[str, Mapping[str, str]]

    @property
    def fact(self) -> Adapter:
        """Return what a package keeps of it."""
        return Adapter(kind="lora", name=Path(self.file).stem, sha256=self.sha256, scale=self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a text encoder's `weight` gets: the vectors of `key`, from its row `first` on."""

    weight: str
    key: str
    first: int
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedEmbedding:
    """A textual inversion, and the rows that it adds: text encoder's folder → rows."""

    file: str
    sha256: str
    rows: Mapping[str, Rows]

    @property
    def fact(self) -> Adapter:
        """Return what a package keeps of it."""
        tokens = dict.fromkeys(token for rows in self.rows.values() for token in rows.tokens)
        return Adapter(
            kind="embedding", name=Path(self.file).stem, sha256=self.sha256, tokens=tuple(tokens)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A tensor of an IP-Adapter for a parameter; of two in one (`to_kv`), `half` is 0 or 1."""

    key: str
    half: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedImagePrompt:
    """An IP-Adapter, and its tensors by the parameters of the denoiser in `folder`."""

    file: str
    sha256: str
    scale: float
    folder: str
    tensors: Mapping[str, Placed]

    @property
    def fact(self) -> Adapter:
        """Return what a package keeps of it."""
        name = Path(self.file).stem
        return Adapter(kind="ip-adapter", name=name, sha256=self.sha256, scale=self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedModel:
    """A model's own folder, and the adapters that it has here."""

    base: str
    loras: tuple[AppliedLora, ...] = ()
    embeddings: tuple[AppliedEmbedding, ...] = ()
    image_prompt: AppliedImagePrompt | None = None

    @property
    def facts(self) -> tuple[Adapter, ...]:
        """Return what a package keeps of the adapters, in the order in which they are added."""
        added = () if self.image_prompt is None else (self.image_prompt.fact,)
        return (*(it.fact for it in self.loras), *(it.fact for it in self.embeddings), *added)

    @property
    def fingerprint(self) -> str:
        """Return a hash over what is added, wherever its files lie and whatever they are called."""
        said = [[it.kind, it.sha256, it.scale, list(it.tokens)] for it in self.facts]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def read_adapted(folder: Path) -> AdaptedModel | None:
    """Return the adapters of a folder that was made for some; None for any other folder.

    Raises ConfigError where the file is not as it was written.
    """
    place = folder.resolve()
    if place.parent != (cache_folder() / PLACE).resolve() or not (place / NAME).is_file():
        return None
    return load_json(AdaptedModel, place / NAME)


def facts_of_adapters(folder: Path) -> tuple[Adapter, ...]:
    """Return what a package keeps of the adapters that a folder's model has."""
    model = read_adapted(folder)
    return () if model is None else model.facts
