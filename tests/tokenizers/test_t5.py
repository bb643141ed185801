"""T5's tokenizer on the host: what is read, copied, refused, and loaded for the reference."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from edgegen_runner.tokenizers.t5 import T5Tokenizer

from edgegen.core.errors import SourceError
from edgegen.models.hub_files import choose_files
from edgegen.packaging.small_files import copy_small_files
from edgegen.tokenizers import tokenizer_of, tokenizers_in
from edgegen.tokenizers.t5 import T5
from tests.conftest import TinyPipeline
from tests.device_runners.test_clip_tokenizer import PROMPTS
from tests.device_runners.test_t5_tokenizer import LAYOUTS, Pair, assert_same, token
from tests.tiny_models import write_json, write_t5_tokenizer


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_reference_s_tokenizer_gives_the_runner_s_ids(
    layout: Callable[[Path], None], tmp_path: Path
) -> None:
    layout(tmp_path)
    T5.check(tmp_path)
    assert_same(Pair(T5Tokenizer.from_folder(tmp_path), T5.load(tmp_path)), PROMPTS)


def test_a_package_has_the_files_of_the_model_and_nothing_is_added(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_pipeline("pixart"), model)
    shutil.rmtree(model / "tokenizer")
    write_t5_tokenizer(model / "tokenizer")
    copy_small_files(model, tmp_path / "package")
    names = {path.name for path in (tmp_path / "package" / "tokenizer").iterdir()}
    assert names == {"spiece.model", "special_tokens_map.json", "tokenizer_config.json"}
    assert [it for _, it in tokenizers_in(tmp_path / "package")] == [T5]


def test_a_hub_is_asked_for_the_sentencepiece_model() -> None:
    sizes = dict.fromkeys(("model_index.json", "tokenizer/spiece.model", "tokenizer/x.bin"), 1)
    assert "tokenizer/spiece.model" in choose_files(sizes, None, repository="somebody/pixart")


def test_only_tokens_that_somebody_added_count_as_added(tmp_path: Path) -> None:
    write_t5_tokenizer(tmp_path)
    assert T5.added_tokens(tmp_path) == ()
    decoder = {"1000": token("<toy>", special=True), "2": token("<unk>", special=True)}
    write_json(tmp_path / "tokenizer_config.json", {"added_tokens_decoder": decoder})
    assert T5.added_tokens(tmp_path) == ("<toy>",)


def test_a_folder_without_a_vocabulary_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither tokenizer\.json nor spiece\.model"):
        T5.check(tmp_path)


def test_a_broken_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"\x0a\xff")
    with pytest.raises(SourceError, match="not a SentencePiece model") as caught:
        T5.check(tmp_path)
    assert caught.value.hint


def test_a_pointer_of_git_lfs_is_refused_as_one(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 791656\n"
    (tmp_path / "spiece.model").write_text(pointer)
    with pytest.raises(SourceError, match="git-lfs"):
        T5.check(tmp_path)


def test_an_unknown_tokenizer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SourceError) as caught:
        tokenizer_of("T6Tokenizer")
    assert "T5Tokenizer" in caught.value.hint
