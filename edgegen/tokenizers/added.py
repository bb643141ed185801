"""Adds tokens to the files of CLIP's tokenizer, as `add_tokens` and `save_pretrained` would."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgegen_runner.tokenizers.added_tokens import added_ids
from edgegen_runner.tokenizers.clip_files import read_tokenizer_files
from edgegen_runner.tokenizers.files import LONGEST_TOKEN, MOST_ADDED_TOKENS

from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import SourceError

CHANGED = ("tokenizer.json", "tokenizer_config.json", "added_tokens.json")
"""The files that tokens are added to."""

_DECODER = "added_tokens_decoder"


def add_tokens(folder: Path, tokens: Sequence[str]) -> int:
    """Add tokens to a tokenizer's files; return the number of the first, the others follow it.

    They are looked for in the text as it is normalized, as transformers' `add_tokens` does it.
    Raises SourceError where one is known already, too long, or where there are too many.
    """
    try:
        files = read_tokenizer_files(folder)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder} holds no tokenizer that tokens can be added to: {error}",
            hint="Download the model again, or save the pipeline with its tokenizer.",
        ) from error
    known = added_ids(files.vocab, files.added_tokens)
    for token in tokens:
        if token in known or token in files.vocab or list(tokens).count(token) > 1:
            raise SourceError(
                f"The tokenizer in {folder} has a token '{token:.80}' already.",
                hint="Give the textual inversion another word: --embedding 'FILE:<my-word>'.",
            )
        if not token or len(token) > LONGEST_TOKEN:
            raise SourceError(
                f"A token has 1 to {LONGEST_TOKEN} letters, and '{token:.40}' has {len(token):,}.",
                hint="Give the textual inversion another word: --embedding 'FILE:<my-word>'.",
            )
    if len(known) + len(tokens) > MOST_ADDED_TOKENS:
        raise SourceError(
            f"{folder} would have {len(known) + len(tokens):,} added tokens; edgegen reads up to "
            f"{MOST_ADDED_TOKENS:,}.",
            hint="Leave some of the textual inversions out.",
        )
    first = max([len(files.vocab), *(number + 1 for number in known.values())])
    _write(folder, {first + index: token for index, token in enumerate(tokens)})
    return first


def _write(folder: Path, tokens: Mapping[int, str]) -> None:
    serialized, config, added = (folder / name for name in CHANGED)
    if serialized.is_file():
        data = load_python_json_object(serialized)
        listed = data.get("added_tokens") or []
        new = [{"id": number, **_entry(token)} for number, token in tokens.items()]
        _replace(serialized, {**data, "added_tokens": [*listed, *new]})
    settings = load_python_json_object(config) if config.is_file() else {}
    if _DECODER in settings:
        new_entries = {str(number): _entry(token) for number, token in tokens.items()}
        _replace(config, {**settings, _DECODER: {**settings[_DECODER], **new_entries}})
    if _DECODER not in settings or added.is_file():
        old = load_python_json_object(added) if added.is_file() else {}
        _replace(added, {**old, **{token: number for number, token in tokens.items()}})


def _entry(token: str) -> dict[str, Any]:
    return {
        "content": token,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": True,
        "special": False,
    }


def _replace(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file anew: what stands there may be a link to the model's own."""
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
