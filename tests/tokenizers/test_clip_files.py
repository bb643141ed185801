"""A package's tokenizer has vocab.json and merges.txt, whatever transformers saved it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.errors import SourceError
from edgegen.models.source import resolve
from edgegen.tokenizers.clip import complete

MODEL: dict[str, Any] = {
    "type": "BPE",
    "vocab": {"b": 1, "a": 0, "ab</w>": 2},
    "merges": [["a", "b</w>"]],
}


def _folder(tmp_path: Path, model: Any, **others: Any) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, **others}), encoding="utf-8")
    return folder


def test_what_is_derived_is_what_was_saved_beside_it(tmp_path: Path) -> None:
    saved = resolve("builtin:emoji").path / "tokenizer"
    shutil.copyfile(saved / "tokenizer.json", tmp_path / "tokenizer.json")
    complete(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        text, expected = ((folder / name).read_text("utf-8") for folder in (tmp_path, saved))
        if name == "vocab.json":
            assert json.loads(text) == json.loads(expected)
        else:
            assert text.rstrip("\n") == expected.rstrip("\n")


@pytest.mark.parametrize("merge", ["a b</w>", ["a", "b</w>"]], ids=["text", "pair"])
def test_a_merge_is_a_text_or_a_pair(tmp_path: Path, merge: Any) -> None:
    folder = _folder(tmp_path, {**MODEL, "merges": [merge]})
    complete(folder)
    assert (folder / "merges.txt").read_text("utf-8") == "#version: 0.2\na b</w>\n"


def test_added_tokens_are_in_the_vocabulary_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    added = [{"id": 4, "content": "<|endoftext|>"}, {"id": 3, "content": "é"}]
    folder = _folder(tmp_path, MODEL, added_tokens=added)
    complete(folder)
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    assert list(vocabulary.items()) == [
        *(("a", 0), ("b", 1), ("ab</w>", 2)),
        *(("é", 3), ("<|endoftext|>", 4)),
    ]


def test_files_that_are_there_are_left_as_they_are(tmp_path: Path) -> None:
    folder = _folder(tmp_path, MODEL)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_text(name)
    complete(folder)
    assert (folder / "vocab.json").read_text() == "vocab.json"
    assert (folder / "merges.txt").read_text() == "merges.txt"


@pytest.mark.parametrize("model", [None, {"type": "Unigram", "vocab": [["a", 0.0]]}])
def test_another_kind_of_tokenizer_is_left_alone(tmp_path: Path, model: Any) -> None:
    folder = _folder(tmp_path, model)
    complete(folder)
    assert [path.name for path in folder.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    "change", [{"vocab": None}, {"vocab": {"a": "x"}}, {"merges": ["abc"]}, {"merges": [7]}]
)
def test_a_broken_tokenizer_names_its_file_and_writes_nothing(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = _folder(tmp_path, {**MODEL, **change})
    with pytest.raises(SourceError, match=r"tokenizer\.json holds a broken byte-pair"):
        complete(folder)
    assert [path.name for path in folder.iterdir()] == ["tokenizer.json"]
