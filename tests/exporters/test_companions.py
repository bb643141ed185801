"""Holds the tokenizers that OpenVINO packages carry against those that they are made from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import openvino
import openvino_tokenizers  # noqa: F401 - OpenVINO finds the tokenizers' operations through it
import pytest
from transformers import CLIPTokenizer

from edgegen.exporters.companions import write_companions
from edgegen.tokenizers.clip import complete

TinyPipeline = Callable[..., Path]
PROMPTS = ("a photo of a cat", "", " ".join(["Red café 123 (?)"] * 40), "  Ünïcode 🐱  x")
WRITTEN = ("openvino_tokenizer.xml", "openvino_tokenizer.bin")


def package(source: Path, destination: Path) -> Path:
    """Return a folder with a model's tokenizers, as a build leaves it for the companions."""
    destination.mkdir(exist_ok=True)
    shutil.copy(source / "model_index.json", destination)
    for folder in source.glob("tokenizer*"):
        shutil.copytree(folder, destination / folder.name)
    return destination


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("sdxl", ["tokenizer", "tokenizer_2"]),  # one of each of the others
        pytest.param("sd15", ["tokenizer"], marks=pytest.mark.slow),
        pytest.param("sd21", ["tokenizer"], marks=pytest.mark.slow),
    ],
)
def test_tokenizers_give_the_models_own_ids_padded_and_cut(
    family: str, names: list[str], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = package(tiny_pipeline(family), tmp_path / "package")
    companions = write_companions("openvino", folder, text_length=77)
    assert "openvino-tokenizers" in companions.toolkits
    assert [cost.stage for cost in companions.costs] == ["companions"]
    assert sorted(path.parent.name for path in folder.rglob(WRITTEN[0])) == names
    core = openvino.Core()  # one: two that overlap leave the stack of signals without memory
    for name in names:
        compiled = core.compile_model(folder / name / WRITTEN[0], "CPU")
        tokenizer = CLIPTokenizer.from_pretrained(folder / name)
        for prompt in PROMPTS:
            expected = tokenizer(prompt, padding="max_length", max_length=77, truncation=True)
            assert list(compiled([prompt])["input_ids"][0]) == expected["input_ids"]


def test_a_tokenizer_that_transformers_saved_anew_gives_its_ids_too(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    package(tiny_pipeline("sd15"), tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    for name in ("vocab.json", "merges.txt"):  # transformers 4 writes them
        (tmp_path / "tokenizer" / name).unlink(missing_ok=True)
    complete(tmp_path / "tokenizer")
    write_companions("openvino", tmp_path, text_length=77)
    compiled = openvino.Core().compile_model(tmp_path / "tokenizer" / WRITTEN[0], "CPU")
    for prompt in PROMPTS:
        expected = tokenizer(prompt, padding="max_length", max_length=77, truncation=True)
        assert list(compiled([prompt])["input_ids"][0]) == expected["input_ids"]


@pytest.mark.slow
def test_the_same_tokenizer_gives_the_same_bytes_wherever_it_lies(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    source = tiny_pipeline("sdxl")
    folders = [package(source, tmp_path / name) for name in ("first", "a-second-place")]
    for folder in folders:
        write_companions("openvino", folder, text_length=77)
    for name in WRITTEN:
        one, other = ((folder / "tokenizer_2" / name).read_bytes() for folder in folders)
        assert one == other
        assert os.fsencode(tmp_path) not in one


def test_a_target_without_companions_and_a_model_without_a_tokenizer_get_none(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = package(tiny_pipeline("sd15"), tmp_path / "package")
    before = sorted(folder.rglob("*"))
    for target in ("onnx", "tflite"):
        assert write_companions(target, folder, text_length=77).costs == ()
    assert sorted(folder.rglob("*")) == before
    without = package(tiny_pipeline("ddpm"), tmp_path / "x")
    assert write_companions("openvino", without, text_length=None).costs == ()


def test_a_tokenizer_with_added_tokens_gets_no_graph_which_would_spell_them_wrongly(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = package(tiny_pipeline("sd15"), tmp_path / "package")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokenizer.add_tokens(["<toy>"])
    tokenizer.save_pretrained(folder / "tokenizer")
    assert write_companions("openvino", folder, text_length=77).costs == ()
    assert not list(folder.rglob("openvino_tokenizer*"))
