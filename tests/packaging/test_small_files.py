"""What is copied from a model into its package: its own regular files, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from edgegen.core.errors import SourceError
from edgegen.packaging.small_files import copy_small_files, write_config


@pytest.fixture
def model(tiny_pipeline, tmp_path) -> Path:
    folder = Path(shutil.copytree(tiny_pipeline("sd15"), tmp_path / "model"))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture
def package(tmp_path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    return folder


def test_scheduler_tokenizer_index_and_card_are_copied(model, package):
    copy_small_files(model, package)

    names = {path.relative_to(package).as_posix() for path in package.rglob("*")}
    assert {"model_index.json", "scheduler/scheduler_config.json", "MODEL_CARD.md"} <= names
    assert {"tokenizer/vocab.json", "tokenizer/merges.txt"} <= names


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "LICENSE", "model_index.json", "scheduler/scheduler_config.json"),
        *("tokenizer/vocab.json", "tokenizer/notes.txt"),
    ],
)
def test_a_link_to_a_private_file_is_not_followed(name, model, package, tmp_path):
    private = tmp_path / "private.json"
    private.write_text('{"token": "secret"}')
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to(private)

    with pytest.raises(SourceError, match="a link that leads out of") as caught:
        copy_small_files(model, package)

    assert str(model / name) in caught.value.message
    assert caught.value.hint
    assert not any(b"secret" in it.read_bytes() for it in package.rglob("*") if it.is_file())


def test_a_folder_that_is_a_link_out_of_the_model_is_not_followed(model, package, tmp_path):
    (model / "tokenizer").rename(tmp_path / "elsewhere")
    (model / "tokenizer").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(SourceError, match="a link that leads out of"):
        copy_small_files(model, package)


def test_links_inside_the_model_and_into_a_hub_s_cache_are_copied(model, package, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(model, snapshot)
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir()
    (snapshot / "tokenizer/vocab.json").rename(blobs / "1234")
    (snapshot / "tokenizer/vocab.json").symlink_to("../../../blobs/1234")
    (snapshot / "LICENSE").symlink_to("README.md")

    copy_small_files(snapshot, package)

    copied = (package / "tokenizer/vocab.json").read_bytes()
    assert copied == (model / "tokenizer/vocab.json").read_bytes()
    assert not (package / "tokenizer/vocab.json").is_symlink()


def test_a_pipe_in_the_model_is_refused_and_not_waited_for(model, package):
    os.mkfifo(model / "tokenizer/extra.json")

    with pytest.raises(SourceError, match="it is a pipe"):
        copy_small_files(model, package)


def test_a_file_that_is_too_large_to_be_what_it_says_is_refused(model, package):
    with (model / "tokenizer/big.txt").open("wb") as file:
        file.truncate(17 << 20)

    with pytest.raises(SourceError, match="larger than 16 MiB"):
        copy_small_files(model, package)


def test_of_a_whole_clip_model_the_text_encoder_s_config_is_written(model, package):
    path = model / "text_encoder/config.json"
    of_text = json.loads(path.read_text())
    path.write_text(json.dumps({"model_type": "clip", "text_config": of_text, "vision_config": {}}))

    write_config(model / "text_encoder", package, "CLIPTextModel")

    written = json.loads((package / "config.json").read_text())
    assert written["num_hidden_layers"] == of_text["num_hidden_layers"]
    assert written["architectures"] == ["CLIPTextModel"]
