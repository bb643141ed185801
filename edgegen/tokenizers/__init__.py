"""The tokenizers that edgegen knows: one file a kind, one entry in the table.

The room knows `core` and the runner's own tokenizers. transformers is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError, nearest
from edgegen.tokenizers.base import Tokenizer
from edgegen.tokenizers.clip import CLIP
from edgegen.tokenizers.t5 import T5

TOKENIZERS: tuple[Tokenizer, ...] = (CLIP, T5)

FOLDERS = ("tokenizer", "tokenizer_2")
FILES = tuple(dict.fromkeys(name for tokenizer in TOKENIZERS for name in tokenizer.files))
_INDEX_NAME = "model_index.json"


def tokenizer_of(class_name: str) -> Tokenizer:
    """Return the kind of a class. Raises SourceError for an unknown one."""
    for tokenizer in TOKENIZERS:
        if class_name in tokenizer.class_names:
            return tokenizer
    known = [name for tokenizer in TOKENIZERS for name in tokenizer.class_names]
    raise SourceError(
        f"edgegen does not know the tokenizer class '{class_name}'.",
        hint=nearest(class_name, known),
    )


def tokenizers_in(model: Path) -> Iterator[tuple[Path, Tokenizer]]:
    """Yield the tokenizer folders of a model or a package, and what they hold.

    Raises SourceError for a class that is not known.
    """
    if not (model / _INDEX_NAME).is_file():
        return
    index = ComponentConfig.read(model / _INDEX_NAME).data
    for name in FOLDERS:
        match index.get(name):
            case [_, str(class_name)] if (model / name).is_dir():
                yield model / name, tokenizer_of(class_name)
