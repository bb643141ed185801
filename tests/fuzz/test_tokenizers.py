"""Broken and hostile tokenizers, on the host and in the runner."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edgegen_runner.tokenizers.clip import ClipTokenizer
from edgegen_runner.tokenizers.t5 import T5Tokenizer
from hypothesis import given
from hypothesis import strategies as st

from edgegen.tokenizers.clip import CLIP
from tests.device_runners.test_t5_tokenizer import SENTENCEPIECE, serialized
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.mutations import mutated
from tests.tiny_models import write_tokenizer

TEXT = f"a <toy> cat's DOG, {'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' * 20} 日本"
JSON = (
    *("vocab.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "tokenizer.json"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every file that a tokenizer may have."""
    from transformers import AddedToken, CLIPTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<toy>"), AddedToken("<toy>_1", single_word=True)])
    tokenizer.save_pretrained(folder)
    (folder / "added_tokens.json").write_text('{"<toy>": 524, "<toy>_1": 525}')
    return folder


def on_the_host(folder: Path) -> None:
    CLIP.check(folder)
    CLIP.added_tokens(folder)
    CLIP.complete(folder)


def in_the_runner(folder: Path) -> None:
    tokenizer = ClipTokenizer.from_folder(folder)
    tokenizer(tokenizer.expand(TEXT), 77)


cuts = st.just(1.0) | st.floats(0, 1)

SIDES: dict[str, Callable[[Path], None]] = {"host": on_the_host, "runner": in_the_runner}


def check(side: str, folder: Path) -> None:
    # ValueError and OSError are the tokenizer's own in the runner, where `text` names the package
    also = (ValueError, OSError) if side == "runner" else ()
    with case(f"tokenizer, {side}", also=also):
        SIDES[side](folder)


@fuzzing()
@given(data=st.data(), name=st.sampled_from(JSON), serialized=st.booleans())
@pytest.mark.parametrize("side", SIDES)
def test_a_broken_tokenizer_ends_orderly(
    side: str,
    whole: Path,
    data: st.DataObject,
    name: str,
    serialized: bool,
    tmp_path_factory: Any,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"fuzzed_tokenizer_{side}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    if not serialized and name != "tokenizer.json":
        (folder / "tokenizer.json").unlink()
    changed = data.draw(mutated(json.loads((whole / name).read_text(encoding="utf-8"))))
    (folder / name).write_text(json.dumps(changed), encoding="utf-8", errors="surrogatepass")
    check(side, folder)


@fuzzing(0.4)
@given(merges=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@pytest.mark.parametrize("side", SIDES)
def test_broken_merges_end_orderly(
    side: str, whole: Path, merges: bytes, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"fuzzed_merges_{side}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("tokenizer.json"))
    (folder / "merges.txt").write_bytes(merges)
    check(side, folder)


BOMBS: dict[str, dict[str, object]] = {
    "too many tokens": {"vocab.json": {str(n): n for n in range(260_000)}},
    "too many added tokens": {"added_tokens.json": {f"<{n}>": n for n in range(100_000)}},
    "too many special tokens": {
        "special_tokens_map.json": {"additional_special_tokens": [str(n) for n in range(100_000)]}
    },
    "a token of a million letters": {"added_tokens.json": {"a" * 1_000_000: 600}},
    "an id of thirty digits": {"added_tokens.json": {"<x>": 10**30}},
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", BOMBS)
def test_what_once_took_minutes_is_refused_or_read_in_seconds(
    name: str, side: str, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tokenizer"
    # what is saved now has everything in one file; older ones have several
    left_out = shutil.ignore_patterns("tokenizer.json", "tokenizer_config.json")
    shutil.copytree(whole, folder, ignore=left_out)
    for file, content in BOMBS[name].items():
        (folder / file).write_text(json.dumps(content))
    check(side, folder)


@pytest.fixture(scope="module")
def whole_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a T5 tokenizer as transformers saves it, and the same as SentencePiece's model."""
    folder = tmp_path_factory.mktemp("t5")
    serialized(folder)
    shutil.copy(SENTENCEPIECE, folder)
    return folder


def read_t5(folder: Path) -> None:
    with case("T5 tokenizer", also=(ValueError, OSError)):
        T5Tokenizer.from_folder(folder)(TEXT, 120)


@fuzzing()
@given(data=st.data(), name=st.sampled_from(("tokenizer.json", "tokenizer_config.json")))
def test_a_broken_t5_tokenizer_ends_orderly(
    whole_t5: Path, data: st.DataObject, name: str, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed_t5"
    shutil.copytree(whole_t5, folder, dirs_exist_ok=True)
    changed = data.draw(mutated(json.loads((whole_t5 / name).read_text(encoding="utf-8"))))
    (folder / name).write_text(json.dumps(changed), encoding="utf-8", errors="surrogatepass")
    read_t5(folder)


@fuzzing()
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4), end=cuts)
def test_a_broken_sentencepiece_model_ends_orderly(
    changes: list[tuple[float, int]], end: float, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed_spiece"
    folder.mkdir(exist_ok=True)
    content = bytearray(SENTENCEPIECE.read_bytes())
    for place, byte in changes:
        content[int(place * (len(content) - 1))] = byte
    (folder / "spiece.model").write_bytes(content[: int(end * len(content))])
    read_t5(folder)
