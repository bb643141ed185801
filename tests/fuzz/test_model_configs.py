"""Broken and hostile configs of models: networks, tokenizers, schedulers, and the index."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgegen.core.errors import EdgegenError
from edgegen.core.targets import load_targets
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.plan import plan
from edgegen.reference.case import plan_case
from edgegen.reference.modules import build_module
from tests.fuzz.harness import case, fuzzing
from tests.fuzz.mutations import mutated

CONFIGS = {
    "sdxl": (
        *("text_encoder", "text_encoder_2", "unet", "vae"),
        *("scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"),
    ),
    "ddim": ("unet", "scheduler/scheduler_config.json"),
    "taesd": ("vae",),
}
CHOICES = [(family, name) for family, names in CONFIGS.items() for name in names]
TARGETS = sorted(load_targets())


@pytest.fixture(scope="module")
def models(tiny_pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("configs")
    return {it: Path(shutil.copytree(tiny_pipeline(it), root / it)) for it in CONFIGS}


def read_all(model: Path, target: str) -> None:
    """Do what `package` does of a model before anything is converted, and build its networks."""
    folder = ModelFolder(path=model, source=str(model))
    planned = plan(folder, target=target, destination=model.with_name("package"))
    plan_case(planned.candidate.spec, model, full=False)
    for component in planned.candidate.components:
        build_module(model / component.folder, component.class_name)


def with_file(model: Path, name: str, text: str, target: str, kind: str) -> None:
    path = model / (name if name.endswith(".json") else f"{name}/config.json")
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        with case(kind):
            read_all(model, target)
    finally:
        path.write_bytes(before)


@fuzzing()
@given(data=st.data(), choice=st.sampled_from(CHOICES), target=st.sampled_from(TARGETS))
def test_a_broken_config_ends_orderly(
    models: dict[str, Path], data: st.DataObject, choice: tuple[str, str], target: str
) -> None:
    family, name = choice
    path = models[family] / (name if name.endswith(".json") else f"{name}/config.json")
    changed = data.draw(mutated(json.loads(path.read_text())))
    with_file(models[family], name, json.dumps(changed), target, "model config")


@fuzzing(0.5)
@given(data=st.data(), family=st.sampled_from(sorted(CONFIGS)))
def test_a_broken_index_ends_orderly(
    models: dict[str, Path], data: st.DataObject, family: str
) -> None:
    changed = data.draw(mutated(json.loads((models[family] / "model_index.json").read_text())))
    with_file(models[family], "model_index.json", json.dumps(changed), "onnx", "model index")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("unet", {"layers_per_block": 10**9}),
        ("unet", {"transformer_layers_per_block": 10**9}),
        ("unet", {"transformer_layers_per_block": [10**4, 10**4]}),
        ("unet", {"sample_size": 10**30}),
        ("unet", {"block_out_channels": [10**30, 1]}),
        ("unet", {"norm_num_groups": 0}),
        ("unet", {"attention_head_dim": 0}),
        ("vae", {"layers_per_block": 10**9}),
        ("vae", {"block_out_channels": [16] * 10**5}),
        ("text_encoder", {"num_hidden_layers": 10**9}),
        ("text_encoder", {"hidden_size": 10**30}),
        ("text_encoder", {"max_position_embeddings": 10**12}),
    ],
)
def test_what_once_took_hours_or_all_memory_is_refused(
    name: str, changes: dict[str, object], models: dict[str, Path]
) -> None:
    path = models["sdxl"] / name / "config.json"
    text = json.dumps({**json.loads(path.read_text()), **changes})
    with_file(models["sdxl"], name, text, "onnx", "model config")


@fuzzing(0.2)
@given(text=st.text(max_size=40) | st.binary(max_size=40).map(lambda it: it.decode("latin-1")))
@example(text="[" * 100_000)
@example(text='{"a": ' * 100_000)
@example(text="9" * 100_000)
@example(text='{"_class_name": ' + "9" * 10_000 + "}")
def test_what_is_no_json_ends_orderly(models: dict[str, Path], text: str) -> None:
    with pytest.raises(EdgegenError):
        read_no_json(models["ddim"], text)


def read_no_json(model: Path, text: str) -> None:
    path = model / "model_index.json"
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        read_all(model, "onnx")
    finally:
        path.write_bytes(before)
