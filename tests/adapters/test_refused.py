"""What is refused of adapters, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgegen.choose.work import ref_of, resolved
from edgegen.core.errors import EdgegenError
from edgegen.core.folders import cache_folder
from edgegen.core.progress import SilentProgress
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.adapters.lora_choice import parse_lora
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.source_hash import weights_sha256
from tests.adapters.writers import is_trained, kohya, lora, modules_in, with_component, write
from tests.conftest import TinyPipeline

DOWN, UP = np.zeros((4, 32), np.float32), np.zeros((32, 4), np.float32)
QUERY = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def model(tiny_pipeline: TinyPipeline) -> Path:
    return tiny_pipeline("sd15")


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"unet.weight": DOWN}, "no part of one: 'unet.weight'"),
        ({f"{QUERY}.oft_blocks": DOWN}, "is OFT"),
        ({f"{QUERY}.on_input": DOWN}, "is IA3"),
        ({f"{QUERY}.lora_down.weight": DOWN}, "it has no up"),
        ({f"{QUERY}.lora_down.weight": DOWN, f"{QUERY}.lora_up.weight": DOWN}, "up has"),
        ({f"{QUERY}.alpha": np.ones(1, np.float32)}, "it has only alpha"),
        (
            {"lora_unet_no_such_layer.lora_down.weight": DOWN, "x.lora_up.weight": UP},
            "match nothing|doesn't fit|don't fit",
        ),
        (
            {"lora_unet_nowhere.lora_down.weight": DOWN, "lora_unet_nowhere.lora_up.weight": UP},
            "one matches nothing: 'lora_unet_nowhere'",
        ),
        (
            {
                "double_blocks.0.img_attn.proj.lora_A.weight": DOWN,
                "double_blocks.0.img_attn.proj.lora_B.weight": UP,
            },
            "It seems to be of FLUX",
        ),
        (
            {
                f"{QUERY}.lora_down.weight": DOWN,
                f"{QUERY}.lora_up.weight": UP,
                f"{QUERY.replace('lora_unet_', 'unet.')}.lora_A.weight": DOWN,
                f"{QUERY.replace('lora_unet_', 'unet.')}.lora_B.weight": UP,
            },
            "change the same weight",
        ),
    ],
)
def test_what_is_no_adapter_of_the_model_is_named(
    tensors: Mapping[str, Any], why: str, model: Path, tmp_path: Path
) -> None:
    save_file(dict(tensors), tmp_path / "a.safetensors")
    with pytest.raises(EdgegenError, match=why):
        with_adapters(resolve(str(model)), [str(tmp_path / "a.safetensors")])


def test_an_adapter_of_another_family_is_told_by_the_text_that_it_reads(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    other = tiny_pipeline("sdxl")
    modules = [("unet", *item) for item in modules_in(other / "unet", is_trained).items()]
    write(tmp_path / "a.safetensors", modules, lora, kohya)
    with pytest.raises(EdgegenError, match="reads text 80 wide; this one reads 32") as caught:
        with_adapters(resolve(str(tiny_pipeline("sd15"))), [str(tmp_path / "a.safetensors")])
    assert "trained on" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nowhere.safetensors", "There is no adapter"),
        ("nowhere.safetensors:0.8", "There is no adapter nowhere.safetensors"),
        ("a.safetensors:1e9", "is no scale"),
        ("a.safetensors:nan", "is no scale"),
        ("a.ckpt", "is a pickle"),
        ("empty", "holds no adapter"),
        ("several", "holds several adapters"),
    ],
)
def test_what_is_typed_is_checked(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "several").mkdir()
    for name in ("a.safetensors", "several/a.safetensors", "several/b.safetensors"):
        save_file({"a": DOWN}, tmp_path / name)
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(EdgegenError, match=why):
        parse_lora(text)


def test_a_scale_follows_the_last_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_file({"a": DOWN}, tmp_path / "a.safetensors")
    save_file({"a": DOWN}, tmp_path / "b:2.safetensors")
    assert parse_lora("~/a.safetensors:-0.5").scale == -0.5
    assert parse_lora(f"{tmp_path}/a.safetensors").scale == 1.0
    named = parse_lora(f"{tmp_path}/b:2.safetensors:0.25")
    assert (named.file.name, named.scale) == ("b:2.safetensors", 0.25)


def test_hashes_and_names_know_the_adapter_and_its_scale(model: Path, tmp_path: Path) -> None:
    modules = [("unet", *item) for item in modules_in(model / "unet", is_trained).items()]
    for name in ("a", "b"):
        write(tmp_path / f"{name}.safetensors", modules, lora, with_component)
    hashes = set()
    for options in ([], ["a.safetensors"], ["a.safetensors:0.5"]):
        folder = with_adapters(resolve(str(model)), [f"{tmp_path}/{it}" for it in options])
        spec = read_pipeline(folder)
        hashes.add(weights_sha256(folder.path, spec.components, SilentProgress()))
    assert len(hashes) == 3
    assert folder.name == f"{model.name}-a"
    renamed = with_adapters(resolve(str(model)), [f"{tmp_path}/b.safetensors:0.5"])
    spec = read_pipeline(renamed)
    assert weights_sha256(renamed.path, spec.components, SilentProgress()) in hashes
    again = resolved(ref_of(renamed), SilentProgress())
    assert read_pipeline(again).adapters == spec.adapters, "another process finds the same"


def test_a_list_of_adapters_in_a_model_s_own_folder_means_nothing(
    model: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    modules = [("unet", *item) for item in modules_in(model / "unet", is_trained).items()]
    write(tmp_path / "a.safetensors", modules, lora, kohya)
    made = with_adapters(resolve(str(model)), [str(tmp_path / "a.safetensors")]).path
    shutil.copy(made / "adapters.json", folder)
    assert made.parent == cache_folder() / "adapted"
    assert folder_source(folder).adapted is None
    assert read_pipeline(resolve(str(folder))).adapters == ()
