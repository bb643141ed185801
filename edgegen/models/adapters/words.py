"""Gives a model the words of textual inversions: its tokenizers' files, and its encoders' rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import SourceError
from edgegen.core.files import sha256_of
from edgegen.core.model import Component, PipelineSpec
from edgegen.families import family_of
from edgegen.models.adapters.applied import AppliedEmbedding, Rows
from edgegen.models.adapters.embedding_file import EmbeddingChoice, EmbeddingFile, tokens_of
from edgegen.models.weight_source import PipelineSource
from edgegen.networks import network_of
from edgegen.networks.base import TextEncoder
from edgegen.tokenizers import tokenizers_in
from edgegen.tokenizers.base import Tokenizer

CONFIG_NAME = "config.json"
_VOCABULARY = "vocab_size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A text encoder that takes more words, and the tokenizer that reads for it.

    `weight` is the key of its words' vectors, `rows` and `width` the shape of that.
    """

    folder: str
    tokenizer_folder: str
    tokenizer: Tokenizer
    weight: str
    rows: int
    width: int

    @property
    def number(self) -> int:
        """Return which of a pipeline's text encoders it is, from 0."""
        return int(self.folder[-1]) - 1 if self.folder[-1].isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """Textual inversions that were put into a model, and the files that they change there."""

    embeddings: tuple[AppliedEmbedding, ...]
    files: Mapping[str, str]


def grow(
    choices: Sequence[EmbeddingChoice],
    spec: PipelineSpec,
    folder: Path,
    source: PipelineSource,
    scratch: Path,
) -> Grown:
    """Put textual inversions into a model whose small files lie in `folder`.

    Tokenizers are copied to `scratch`, and changed there. Raises SourceError for a file that is no
    textual inversion or none of this model, and for a word that a tokenizer has already.
    """
    readers = _readers(spec, folder, source)
    if not readers:
        raise SourceError(
            f"{spec.source} takes no textual inversion: none of its text encoders reads with "
            "CLIP's tokenizer.",
            hint="Leave --embedding out.",
        )
    embeddings = []
    totals: dict[str, int] = {}
    for reader in readers:
        shutil.copytree(folder / reader.tokenizer_folder, scratch / reader.tokenizer_folder)
    for choice in choices:
        file = EmbeddingFile.open(choice.file)
        rows = {}
        for reader, key in _fitting(file, readers):
            tokens = tokens_of(file, key, choice.words)
            assert reader.tokenizer.add is not None  # else it was no reader
            first = reader.tokenizer.add(scratch / reader.tokenizer_folder, tokens)
            if first > totals.get(reader.folder, reader.rows):
                raise SourceError(
                    f"{folder / reader.folder} has {reader.rows:,} words, and its tokenizer "
                    f"{first:,}.",
                    hint="Take text encoder and tokenizer from the same version of the model.",
                )
            totals[reader.folder] = first + len(tokens)
            rows[reader.folder] = Rows(weight=reader.weight, key=key, first=first, tokens=tokens)
        embeddings.append(
            AppliedEmbedding(file=str(file.path), sha256=sha256_of(file.path), rows=rows)
        )
    return Grown(
        embeddings=tuple(embeddings),
        files={**_tokenizer_files(scratch), **_configs(folder, totals)},
    )


def _readers(spec: PipelineSpec, folder: Path, source: PipelineSource) -> list[Reader]:
    components = {it.folder: it for it in spec.components}
    tokenizers = {path.name: tokenizer for path, tokenizer in tokenizers_in(folder)}
    found = []
    for slot in family_of(spec.family).slots:
        component, tokenizer = components.get(slot.name), tokenizers.get(slot.tokenizer or "")
        if component is None or tokenizer is None or tokenizer.add is None or not slot.tokenizer:
            continue
        found.append(_reader(component, slot.tokenizer, tokenizer, source))
    return [reader for reader in found if reader is not None]


def _reader(
    component: Component, tokenizer_folder: str, tokenizer: Tokenizer, source: PipelineSource
) -> Reader | None:
    network = network_of(component.class_name)
    if not isinstance(network, TextEncoder) or network.words is None:
        return None
    weights = source.weights(component.folder, component.variant)
    name = f"{network.words}.weight"
    key = next((it for it in (name, *network.keys.newer(name)) if it in weights.entries), None)
    if key is None:
        return None
    rows, width = weights.entries[key].shape
    return Reader(
        folder=component.folder,
        tokenizer_folder=tokenizer_folder,
        tokenizer=tokenizer,
        weight=key,
        rows=rows,
        width=width,
    )


def _fitting(file: EmbeddingFile, readers: Sequence[Reader]) -> list[tuple[Reader, str]]:
    """Return which of a file's tensors each text encoder gets. Raises SourceError for none."""
    found = []
    for number, key in file.keys.items():
        fits = [it for it in readers if file.width(key) == it.width and number in (None, it.number)]
        found += [(reader, key) for reader in fits[:1]]
    if found:
        return found
    widths = " and ".join(sorted({f"{file.width(key):,}" for key in file.keys.values()}))
    own = " and ".join(f"{reader.width:,}" for reader in readers)
    raise SourceError(
        f"{file.path} holds vectors of {widths} numbers, and this model's text encoders have "
        f"{own}.",
        hint="It was learned with another model: 768 are of Stable Diffusion 1, 1,024 of 2, 768 "
        "and 1,280 of SDXL.",
    )


def _tokenizer_files(scratch: Path) -> dict[str, str]:
    return {
        path.relative_to(scratch).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(scratch.rglob("*.json"))
    }


def _configs(folder: Path, totals: Mapping[str, int]) -> dict[str, str]:
    """Return the configurations of text encoders with more words than they had."""
    made = {}
    for name, total in totals.items():
        data = load_python_json_object(folder / name / CONFIG_NAME)
        text = data.get("text_config")
        if isinstance(text, dict):  # of a whole CLIPModel
            data = {**data, "text_config": {**text, _VOCABULARY: total}}
        else:
            data = {**data, _VOCABULARY: total}
        made[f"{name}/{CONFIG_NAME}"] = json.dumps(data, indent=2) + "\n"
    return made
