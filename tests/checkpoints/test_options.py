"""What is said of a model besides its name: another autoencoder, configurations, a pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgegen.checkpoints.vocabulary import SIZE
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.reading import Reading
from edgegen.models.layouts import NOTE_NAME, layouts_folder
from edgegen.models.open_weights import open_weights
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights
from edgegen.reference import golden
from edgegen.reference.case import plan_case
from edgegen.reference.pipeline import load_reference
from edgegen.reference.trajectory import case_arguments, run_case
from tests.checkpoints.diffusers_side import drawn_by_diffusers
from tests.checkpoints.original import original_pixart, original_vae, read_folder, write_original
from tests.conftest import TinyPipeline
from tests.tiny_models import build

# torch 2.13's Tensor.__array__ under numpy 2.4
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose shapes tell all: CLIP's words, groups of 32, 8 heads."""
    return build(
        "sd15",
        tmp_path_factory.mktemp("whole") / "model",
        changes={
            "unet": {
                "norm_num_groups": 32,
                "attention_head_dim": 8,
                "sample_size": 64,
                "cross_attention_dim": 64,
            },
            "vae": {"norm_num_groups": 32, "block_out_channels": (32, 32)},
            "text_encoder": {
                "vocab_size": SIZE,
                "hidden_size": 64,
                "num_attention_heads": 1,
                "intermediate_size": 64,
            },
        },
    )


@pytest.mark.slow
def test_a_file_needs_nothing_besides_itself(whole: Path, tmp_path: Path) -> None:
    """Not even a config: what torch draws is what diffusers draws with the model's own ones."""
    file = write_original(whole, "1", tmp_path / "model.safetensors")

    found = resolve(str(file))

    assert len(json.loads((found.path / "tokenizer" / "vocab.json").read_text())) == SIZE
    spec = read_pipeline(found)
    assert spec.components == read_pipeline(resolve(str(whole))).components
    shutil.copytree(whole, tmp_path / "configs", ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.rmtree(tmp_path / "configs" / "tokenizer")
    shutil.copytree(found.path / "tokenizer", tmp_path / "configs" / "tokenizer")
    case = plan_case(spec, found.path, full=False)
    reference = load_reference(spec, open_source(folder_source(found.path)))
    with torch.inference_mode(), reference.weights:
        run_case(reference, spec, case, tmp_path, lambda _: None)
    expected = drawn_by_diffusers(
        spec.pipeline_class, file, tmp_path / "configs", case_arguments(spec, case, tmp_path)
    )
    assert np.array_equal(golden.read_array(tmp_path, golden.IMAGE_NAME), expected)


def test_the_same_model_is_laid_out_once(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tiny_pipeline("sd15")
    file = write_original(folder, "1", tmp_path / "model.safetensors")
    reading = Reading(config=str(folder))

    first = resolve(str(file), reading=reading)
    before = (first.path / NOTE_NAME).stat().st_mtime_ns

    assert resolve(str(file), reading=reading).path == first.path
    assert (first.path / NOTE_NAME).stat().st_mtime_ns == before
    assert first.path.parent == layouts_folder()
    assert not list(first.path.rglob("*.safetensors"))


def test_a_file_that_was_replaced_is_read_again(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    file = write_original(folder, "1", tmp_path / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(folder)))
    write_original(folder, "1", file, dtype=torch.float16)

    with pytest.raises(SourceError, match="was changed"):
        open_weights(found.path / "unet")

    again = resolve(str(file), reading=Reading(config=str(folder)))
    assert {it.dtype for it in open_weights(again.path / "unet").entries.values()} == {"float16"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_types_are_read_as_those_of_a_folder(
    dtype: torch.dtype, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd21")
    file = write_original(folder, "2", tmp_path / "model.safetensors", dtype=dtype)

    found = resolve(str(file), reading=Reading(config=str(folder)))

    ours = open_weights(found.path / "text_encoder")
    for key, tensor in read_folder(folder, "text_encoder")[1].items():
        expected = tensor.to(dtype).float().numpy()
        assert np.array_equal(ours.array(f"text_model.{key}").astype(np.float32), expected), key


@pytest.mark.parametrize("form", ["alone", "prefixed", "diffusers", "folder"])
def test_another_autoencoder_takes_the_place_of_the_model_s(
    form: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder, other = tiny_pipeline("sd15"), tiny_pipeline("sd15", seed=1)
    config, weights = read_folder(other, "vae")
    vae = tmp_path / "vae.safetensors"
    if form == "folder":
        vae = other / "vae"
    elif form == "diffusers":
        shutil.copy(other / "vae" / "diffusion_pytorch_model.safetensors", vae)
    else:
        prefix = "" if form == "alone" else "first_stage_model."
        tensors = original_vae(config, weights, prefix)
        save_file({key: it.contiguous() for key, it in tensors.items()}, vae)

    found = resolve(str(folder), reading=Reading(vae=str(vae)))

    spec = read_pipeline(found)
    assert spec.components == read_pipeline(resolve(str(folder))).components
    assert spec.reading == Reading(vae=str(vae))
    ours, theirs = open_weights(found.path / "vae"), Weights.open(other / "vae")
    for key in theirs.entries:
        array = theirs.array(key)
        assert np.array_equal(ours.array(key).reshape(array.shape), array), key
    assert np.array_equal(
        open_weights(found.path / "unet").array("conv_in.weight"),
        Weights.open(folder / "unet").array("conv_in.weight"),
    )


def test_a_file_without_an_autoencoder_asks_for_one(whole: Path, tmp_path: Path) -> None:
    file = write_original(whole, "1", tmp_path / "model.safetensors", vae=False)
    config, weights = read_folder(whole, "vae")
    save_file(
        {key: it.contiguous() for key, it in original_vae(config, weights, "").items()},
        tmp_path / "vae.safetensors",
    )

    with pytest.raises(SourceError) as caught:
        resolve(str(file))
    found = resolve(str(file), reading=Reading(vae=str(tmp_path / "vae.safetensors")))

    assert "--vae FILE" in caught.value.hint
    assert json.loads((found.path / "vae" / "config.json").read_text())["scaling_factor"] == 0.18215


def test_a_text_encoder_with_other_words_asks_for_its_tokenizer(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    file = write_original(tiny_pipeline("sd15"), "1", tmp_path / "model.safetensors")

    with pytest.raises(SourceError) as caught:
        resolve(str(file))

    assert "tokens" in caught.value.message
    assert "--config FOLDER" in caught.value.hint


def test_an_unknown_pipeline_draws_as_one_that_is_known(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("sd15"), folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(
        json.dumps({**index, "_class_name": "StableDiffusionSAGPipeline"})
    )

    with pytest.raises(SourceError) as caught:
        read_pipeline(resolve(str(folder)))
    found = resolve(str(folder), reading=Reading(pipeline="StableDiffusionPipeline"))

    assert "--as StableDiffusionPipeline" in caught.value.hint
    assert found.name == "model"
    spec = read_pipeline(found)
    assert spec.pipeline_class == "StableDiffusionPipeline"
    assert spec.components == read_pipeline(resolve(str(tiny_pipeline("sd15")))).components


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (Reading(prediction="velocity"), "v_prediction"),
        (Reading(config="somewhere"), "Leave --config out"),
    ],
)
def test_what_cannot_be_said_of_a_folder_is_refused(
    reading: Reading, words: str, tiny_pipeline: TinyPipeline
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(str(tiny_pipeline("sd15")), reading=reading)

    assert words in caught.value.hint


def test_a_note_in_a_folder_of_somebody_else_means_nothing(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    file = write_original(folder, "1", tmp_path / "model.safetensors")
    found = resolve(str(file), reading=Reading(config=str(folder)))
    stranger = tmp_path / "stranger"
    shutil.copytree(found.path, stranger)

    with pytest.raises(SourceError, match="no weights"):
        read_pipeline(resolve(str(stranger)))


@pytest.mark.parametrize("names", ["its authors'", "diffusers'"])
def test_a_transformer_of_pixart_takes_the_rest_from_a_folder(
    names: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("pixart-sigma")
    (weights,) = (folder / "transformer").glob("*.safetensors")
    file = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    save_file(tensors if names == "diffusers'" else original_pixart(tensors), file)

    found = resolve(str(file), reading=Reading(config=str(folder)))

    spec = read_pipeline(found)
    assert spec.family == "pixart"
    assert spec.components == read_pipeline(resolve(str(folder))).components
    ours = open_weights(found.path / "transformer")
    for key, tensor in tensors.items():
        assert np.array_equal(ours.array(key), tensor.numpy()), key
    with pytest.raises(SourceError) as caught:
        resolve(str(file))
    assert "--config FOLDER" in caught.value.hint
