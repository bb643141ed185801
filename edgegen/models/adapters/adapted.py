"""A model with adapters: each weight is added to as it is read.

So there is never more in memory than one weight, and what is added to it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edgegen.core.errors import SourceError
from edgegen.models.adapters.adapter_file import AdapterFile
from edgegen.models.adapters.applied import (
    IMAGE_ENCODER,
    AdaptedModel,
    AppliedEmbedding,
    AppliedLora,
    Placed,
    Rows,
)
from edgegen.models.adapters.deltas import (
    ShapeError,
    Strength,
    adapted,
    factors,
    is_lora,
    sums,
)
from edgegen.models.adapters.embedding_file import EmbeddingFile
from edgegen.models.adapters.image_prompt_file import ImagePromptFile
from edgegen.models.open_weights import open_weights
from edgegen.models.weight_source import PipelineSource, StoredWeights, WeightEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SumEntry:
    """A weight that is added to: float32, whatever it is stored in."""

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size_bytes(self) -> int:
        """Return how large it is in memory."""
        return 4 * math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Added:
    """An adapter's file, how strongly it is added, and its module for each key that it changes."""

    file: AdapterFile
    scale: float
    modules: Mapping[str, str]

    def is_lora(self, key: str) -> bool:
        """Return whether what it adds to a weight is a product of thin matrices."""
        return not key.endswith(".bias") and is_lora(self.file.shapes(self.modules[key]))

    def factors(self, key: str, *, again: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return these matrices, (outputs, rank) with all factors in it, and (rank, inputs)."""
        module = self.modules[key]
        read = partial(self.file.read, module, again=again)
        up, down = factors(self.file.shapes(module), read)
        return up * np.float32(self.scale * self.file.factor(module)), down


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grown:
    """A textual inversion's file, and the rows that a weight gets of it."""

    file: EmbeddingFile
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class _More:
    """An IP-Adapter's file, and its tensors by the keys that they have here."""

    file: ImagePromptFile
    tensors: Mapping[str, Placed]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedWeights:
    """The weights of a component, with adapters: a `StoredWeights`."""

    base: StoredWeights
    added: tuple[_Added, ...]
    grown: tuple[_Grown, ...]
    fingerprint: str
    entries: Mapping[str, WeightEntry]
    more: _More | None = None

    @property
    def name(self) -> str:
        """Return what it is called in an error."""
        return self.base.name

    @property
    def variant(self) -> str | None:
        """Return the variant of the weights that are added to."""
        return self.base.variant

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files of the weights that are added to."""
        return self.base.files

    @property
    def takes_all_keys(self) -> bool:
        """Return whether each key of the weights that are added to has to be a parameter's."""
        return self.base.takes_all_keys

    @property
    def size_bytes(self) -> int:
        """Return the size of the weights that are added to, as they are stored."""
        return self.base.size_bytes

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[np.generic]:
        """Read a tensor, and add to it in float32; see `WeightSource`."""
        if self.more is not None and key in self.more.tensors:
            read = self.more.file.read(self.more.tensors[key], again=again)
            return read if dtype is None else read.astype(dtype, copy=False)
        adding = [each for each in self.added if key in each.modules]
        growing = [each for each in self.grown if each.rows.weight == key]
        if not adding and not growing:
            return self.base.array(key, dtype, again=again)
        if not adding:  # in the numbers that are wanted: in float32 SDXL's take 253 MB
            stored = self.base.array(key, again=again)
            return _grown(stored, growing, np.float32 if dtype is None else dtype)
        if not growing and all(it.is_lora(key) for it in adding):
            stored = self.base.array(key, again=again)
            try:
                pairs = [it.factors(key, again=again) for it in adding]
                return sums(stored, pairs, np.float32 if dtype is None else dtype)
            except ValueError as error:
                raise _unfit(adding[0], key, stored.shape, error) from error
        weight = self.base.array(key, np.float32, again=again)
        if not weight.flags.writeable:
            weight = weight.copy()
        for each in adding:
            weight = _add(weight, key, each, again=again)
        if growing:
            return _grown(weight, growing, np.float32 if dtype is None else dtype)
        return weight if dtype is None else weight.astype(dtype, copy=False)

    def sha256(self) -> str:
        """Return a hash over the weights and all that is added to them."""
        return hashlib.sha256(f"{self.base.sha256()} {self.fingerprint}".encode()).hexdigest()


def _add(
    weight: NDArray[np.float32], key: str, each: _Added, *, again: bool
) -> NDArray[np.float32]:
    module = each.modules[key]
    shapes = each.file.shapes(module)
    if key.endswith(".bias"):
        added = each.file.read(module, "diff_b", again=again)
        weight += np.float32(each.scale) * added.reshape(weight.shape)
        return weight
    strength = Strength(scale=each.scale, factor=each.file.factor(module))
    try:
        return adapted(weight, shapes, partial(each.file.read, module, again=again), strength)
    except (ShapeError, ValueError) as error:
        raise _unfit(each, key, weight.shape, error) from error


def _unfit(each: _Added, key: str, shape: tuple[int, ...], error: ValueError) -> SourceError:
    return SourceError(
        f"{each.file.path}: '{each.modules[key]}' cannot be added to {shape}: {error}.",
        hint="The file was changed since it was checked: run the command again.",
    )


def _grown(
    weight: NDArray[np.generic], growing: Sequence[_Grown], dtype: DTypeLike
) -> NDArray[np.generic]:
    """Return a weight with more rows; what it has behind the tokenizer's last token is left out."""
    first = growing[0].rows.first
    learned = [it.file.read(it.rows.key) for it in growing]
    made = np.empty((first + sum(map(len, learned)), *weight.shape[1:]), dtype)
    made[:first] = weight[:first]
    np.concatenate(learned, out=made[first:], casting="same_kind")
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedSource:
    """A source of weights, with adapters. `configs` is the folder that was made for both."""

    base: PipelineSource
    configs: Path
    model: AdaptedModel

    def weights(self, folder: str, variant: str | None = None) -> StoredWeights:
        """Open the weights of a component and of its adapters. Raises SourceError."""
        prompt = self.model.image_prompt
        if prompt is not None and folder == IMAGE_ENCODER:
            return open_weights(self.configs / folder)
        base = self.base.weights(folder, variant)
        more = None
        if prompt is not None and folder == prompt.folder:
            more = _More(file=ImagePromptFile.open(Path(prompt.file)), tensors=prompt.tensors)
        added = tuple(_opened(self.model.loras, folder, base))
        grown = tuple(_opened_embeddings(self.model.embeddings, folder))
        return AdaptedWeights(
            base=base,
            added=added,
            grown=grown,
            fingerprint=self.model.fingerprint,
            entries=_entries(base, added, grown, more),
            more=more,
        )


def _entries(
    base: StoredWeights, added: Sequence[_Added], grown: Sequence[_Grown], more: _More | None
) -> Mapping[str, WeightEntry]:
    """Return all tensors, by key: those that are added to, and those that are new, are float32."""
    changed = {key for each in added for key in each.modules}
    sizes = {it.rows.weight: it.rows.first + len(it.rows.tokens) for it in grown}
    entries: dict[str, WeightEntry] = dict(base.entries)
    if more is not None:
        for key, placed in more.tensors.items():
            if placed.key not in more.file.entries:
                raise _changed(str(more.file.path))
            entries[key] = SumEntry(shape=more.file.shape(placed))
    for key in changed | sizes.keys():
        shape = entries[key].shape
        entries[key] = SumEntry(shape=(sizes[key], *shape[1:]) if key in sizes else shape)
    return entries


def _opened_embeddings(embeddings: Sequence[AppliedEmbedding], folder: str) -> Iterator[_Grown]:
    for embedding in embeddings:
        rows = embedding.rows.get(folder)
        if rows is None:
            continue
        file = EmbeddingFile.open(Path(embedding.file))
        if rows.key not in file.entries or file.vectors(rows.key) != len(rows.tokens):
            raise _changed(embedding.file)
        yield _Grown(file=file, rows=rows)


def _changed(file: str) -> SourceError:
    return SourceError(
        f"{file} is not the adapter that it was when the command began.",
        hint="Run the command again.",
    )


def _opened(loras: Sequence[AppliedLora], folder: str, base: StoredWeights) -> list[_Added]:
    opened = []
    for lora in loras:
        modules = lora.changes.get(folder, {})
        if not modules:
            continue
        file = AdapterFile.open(Path(lora.file))
        for key, module in modules.items():
            if key not in base.entries or module not in file.modules:
                raise _changed(lora.file)
        opened.append(_Added(file=file, scale=lora.scale, modules=modules))
    return opened
