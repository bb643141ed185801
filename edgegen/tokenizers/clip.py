"""CLIP's tokenizers: their files, and those by which most runtimes know one.

transformers 5 saves `tokenizer.json` alone. openvino_genai's tokenizer and the Kotlin and Swift
kits read `vocab.json` and `merges.txt`, so a package always has them. Tokens that were added to a
vocabulary (textual inversions) are known to edgegen's runner, and not to those others.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgegen_runner.tokenizers.files import LONGEST_TOKEN, MOST_ADDED_TOKENS, MOST_TOKENS

from edgegen.core.codec import MAXIMUM_JSON_BYTES, load_python_json_object
from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.lfs import refuse_pointer
from edgegen.tokenizers.added import add_tokens
from edgegen.tokenizers.base import Tokenizer

SERIALIZED_NAME = "tokenizer.json"
VOCABULARY_NAME = "vocab.json"
MERGES_NAME = "merges.txt"
MAXIMUM_PATTERN_LETTERS = 500
_COUNTED = re.compile(r"\{\d|\{,\d")
_WITH_TOKENIZER = "Download the model again, or save the pipeline with its tokenizer."
_HEAD = "#version: 0.2"
_CONFIG_NAME = "tokenizer_config.json"
_SPECIALS_NAME = "special_tokens_map.json"
_ADDED_NAME = "added_tokens.json"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
_LISTS_OF_TOKENS = ("additional_special_tokens", "extra_special_tokens")
_DEFAULTS = ("<|startoftext|>", "<|endoftext|>")
_UNSERIALIZED_SHARE = 0.38
"""What vocabulary and merges take beside the `tokenizer.json` of CLIP, which indents them."""


def check(folder: Path) -> None:
    """Check the files of a tokenizer before anything reads them for good.

    Raises SourceError where the vocabulary is missing or broken, where a file is a pointer of
    git-lfs or is too large, and where there are more tokens than reading takes seconds for.
    """
    serialized = _read(folder / SERIALIZED_NAME)
    model = serialized.get("model")
    names = (VOCABULARY_NAME, MERGES_NAME)
    missing = [name for name in names if not (folder / name).is_file()]
    if not serialized and missing:
        raise SourceError(
            f"{folder} has neither {SERIALIZED_NAME} nor {' and '.join(missing)}.",
            hint=_WITH_TOKENIZER,
        )
    vocabulary = model.get("vocab") if isinstance(model, dict) else _read(folder / VOCABULARY_NAME)
    merges = model.get("merges") if isinstance(model, dict) else _merge_lines(folder / MERGES_NAME)
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise SourceError(
            f"{folder / SERIALIZED_NAME} holds no byte-pair encoding, as CLIP's tokenizers are.",
            hint=_WITH_TOKENIZER,
        )
    for what, count, most in (
        ("tokens in its vocabulary", len(vocabulary), MOST_TOKENS),
        ("merges", len(merges), MOST_TOKENS),
        ("added tokens", len(added_tokens(folder)), MOST_ADDED_TOKENS),
        ("letters in one token", max(map(len, vocabulary), default=0), LONGEST_TOKEN),
    ):
        if count > most:
            raise SourceError(
                f"{folder} has {count:,} {what}; edgegen reads up to {most:,}.",
                hint="CLIP has 49,408 tokens, and each vector of a textual inversion adds one.",
            )
    for pattern in _patterns(serialized):
        if len(pattern) > MAXIMUM_PATTERN_LETTERS or _COUNTED.search(pattern):
            raise SourceError(
                f"{folder / SERIALIZED_NAME} has a pattern that may take hours: "
                f"{reprlib.repr(pattern)}.",
                hint="Save CLIP's tokenizer again; transformers uses its own patterns for it.",
            )


def load(folder: Path) -> Any:
    """Load transformers' tokenizer. Raises SourceError."""
    from transformers import CLIPTokenizer

    try:
        return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{folder} holds no tokenizer that transformers can read: {error}.",
            hint="Download the tokenizer again.",
        ) from error


def complete(folder: Path) -> None:
    """Write `vocab.json` and `merges.txt` from a folder's `tokenizer.json`, unless both are there.

    The vocabulary has the added tokens, too, as transformers 4 wrote it. A tokenizer that is no
    byte-pair encoding is left as it is. Raises SourceError where `tokenizer.json` is broken.
    """
    path = folder / SERIALIZED_NAME
    if not _lacks_lists(folder):
        return
    serialized = load_python_json_object(path)
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
            hint=_WITH_TOKENIZER,
        ) from error
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    (folder / VOCABULARY_NAME).write_text(json.dumps(ordered, ensure_ascii=False), encoding="utf-8")
    (folder / MERGES_NAME).write_text("\n".join([_HEAD, *merges]) + "\n", encoding="utf-8")


def missing_bytes(folder: Path) -> int:
    """Return about how large the files are that `complete` would write."""
    if not _lacks_lists(folder):
        return 0
    return int((folder / SERIALIZED_NAME).stat().st_size * _UNSERIALIZED_SHARE)


def _lacks_lists(folder: Path) -> bool:
    """Return whether a folder has a `tokenizer.json`, and not both lists that it stands for."""
    lists = (folder / VOCABULARY_NAME, folder / MERGES_NAME)
    return (folder / SERIALIZED_NAME).is_file() and not all(map(Path.is_file, lists))


def added_tokens(folder: Path) -> tuple[str, ...]:
    """Return the tokens that were added to a tokenizer, such as textual inversions, in order.

    Start, end, padding and the token for what is unknown do not count. Raises SourceError where a
    file of the tokenizer is broken.
    """
    config, specials, serialized = (
        _read(folder / name) for name in (_CONFIG_NAME, _SPECIALS_NAME, SERIALIZED_NAME)
    )
    usual = {
        _content(them[name])
        for them in (config, specials)
        for name in _SPECIAL_TOKENS
        if them.get(name) is not None
    }
    decoder = config.get("added_tokens_decoder")
    added = [
        *(decoder.values() if isinstance(decoder, dict) else ()),
        *_read(folder / _ADDED_NAME),
        *_items(serialized.get("added_tokens")),
    ]
    for name in _LISTS_OF_TOKENS:
        added += [*_items(config.get(name)), *_items(specials.get(name))]
    found = dict.fromkeys(_content(token) for token in added)
    return tuple(token for token in found if token and token not in (*usual, *_DEFAULTS))


def _merge_lines(path: Path) -> list[str]:
    try:
        refuse_pointer(path)
        if path.stat().st_size > MAXIMUM_JSON_BYTES:
            raise SourceError(
                f"{path} is larger than {MAXIMUM_JSON_BYTES >> 20} MiB.", hint=_WITH_TOKENIZER
            )
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} cannot be read: {error}.", hint=_WITH_TOKENIZER) from error


def _patterns(value: object) -> Iterator[str]:
    """Yield the regular expressions of a serialized tokenizer, wherever they are but its model."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "Regex":
                yield str(item)
            elif key not in ("model", "added_tokens"):
                yield from _patterns(item)
    elif isinstance(value, list):
        for item in value:
            yield from _patterns(item)


def _read(path: Path) -> dict[str, Any]:
    return dict(ComponentConfig.read(path).data) if path.is_file() else {}


def _items(value: object) -> list[Any]:
    return list(
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    )


def _content(token: object) -> str:
    return str(token.get("content", "") if isinstance(token, dict) else token)


def _merge(pair: Any) -> str:
    """Return a merge as a line: it is a text with one space, or a list of two."""
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return f"{left} {right}"


CLIP = Tokenizer(
    class_names=("CLIPTokenizer", "CLIPTokenizerFast"),
    files=(
        *(VOCABULARY_NAME, MERGES_NAME, SERIALIZED_NAME),
        *(_CONFIG_NAME, _SPECIALS_NAME, _ADDED_NAME),
    ),
    check=check,
    load=load,
    added_tokens=added_tokens,
    complete=complete,
    missing_bytes=missing_bytes,
    add=add_tokens,
)
