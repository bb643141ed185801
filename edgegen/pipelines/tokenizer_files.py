"""The files of a pipeline's CLIP tokenizers, and those by which most runtimes know one.

transformers 5 saves `tokenizer.json` alone. openvino_genai's tokenizer and the Kotlin and Swift
kits read `vocab.json` and `merges.txt`, so a package always has them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgegen.core.codec import load_json_object
from edgegen.core.errors import SourceError

FOLDERS = ("tokenizer", "tokenizer_2")
SERIALIZED_NAME = "tokenizer.json"
VOCABULARY_NAME = "vocab.json"
MERGES_NAME = "merges.txt"
_HEAD = "#version: 0.2"


def complete(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt` from a folder's `tokenizer.json`, unless both are there.

    The vocabulary has the added tokens, too, as transformers 4 wrote it. A tokenizer that is no
    byte-pair encoding is left as it is. Raises SourceError where `tokenizer.json` is broken.
    """
    path = folder / SERIALIZED_NAME
    if not path.is_file() or all((folder / it).is_file() for it in (VOCABULARY_NAME, MERGES_NAME)):
        return
    serialized = load_json_object(path)
    model = serialized.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        return
    try:
        vocabulary = {str(token): int(index) for token, index in model["vocab"].items()}
        for token in serialized.get("added_tokens", ()):
            vocabulary.setdefault(token["content"], int(token["id"]))
        merges = [_merge(pair) for pair in model["merges"]]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} holds a broken byte-pair encoding: {error!r}.",
            hint="Download the model again, or save the pipeline with its tokenizer.",
        ) from error
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    (folder / VOCABULARY_NAME).write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")
    (folder / MERGES_NAME).write_text("\n".join([_HEAD, *merges]) + "\n", encoding="utf-8")


def _merge(pair: Any) -> str:
    """Return a merge as a line: it is a text with one space, or a list of two."""
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return f"{left} {right}"
