"""T5's tokenizers: `spiece.model`, or the `tokenizer.json` that transformers makes of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgegen_runner.tokenizers.t5_files import T5Files, read_t5_files

from edgegen.core.errors import SourceError
from edgegen.core.lfs import refuse_pointer
from edgegen.tokenizers.base import Tokenizer

_SENTENCEPIECE_NAME = "spiece.model"
_SERIALIZED_NAME = "tokenizer.json"
_SENTINEL = re.compile(r"<extra_id_\d+>")


def _check(folder: Path) -> None:
    """Raise SourceError where the files are missing, broken or too large."""
    _read(folder)


def _load(folder: Path) -> Any:
    """Make transformers' tokenizer.

    transformers reads `spiece.model` with the package sentencepiece only, so it is read here.
    Raises SourceError.
    """
    from transformers import AddedToken, T5Tokenizer

    files = _read(folder)
    added = [
        AddedToken(
            token.content,
            single_word=token.single_word,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            normalized=token.normalized,
            special=True,
        )
        for token in files.added_tokens
    ]
    return T5Tokenizer(
        vocab=list(files.pieces),
        _spm_precompiled_charsmap=files.charsmap or None,
        extra_ids=0,  # they are among the added tokens
        additional_special_tokens=added,
        **files.special_tokens,
    )


def _added_tokens(folder: Path) -> tuple[str, ...]:
    files = _read(folder)
    own = {*files.special_tokens.values(), *(piece for piece, _ in files.pieces)}
    return tuple(
        token.content
        for token in files.added_tokens
        if token.content not in own and not _SENTINEL.fullmatch(token.content)
    )


def _read(folder: Path) -> T5Files:
    for name in (_SENTENCEPIECE_NAME, _SERIALIZED_NAME):
        if (folder / name).is_file():
            refuse_pointer(folder / name)
    try:
        return read_t5_files(folder)
    except FileNotFoundError as error:
        raise SourceError(
            f"{folder} has neither {_SERIALIZED_NAME} nor {_SENTENCEPIECE_NAME}.",
            hint="Download the model again, or save the pipeline with its tokenizer.",
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder} holds no tokenizer that edgegen can read: {error}",
            hint="Download the tokenizer again.",
        ) from error


T5 = Tokenizer(
    class_names=("T5Tokenizer", "T5TokenizerFast"),
    files=(
        *(_SENTENCEPIECE_NAME, _SERIALIZED_NAME, "tokenizer_config.json"),
        *("special_tokens_map.json", "added_tokens.json"),
    ),
    check=_check,
    load=_load,
    added_tokens=_added_tokens,
)
