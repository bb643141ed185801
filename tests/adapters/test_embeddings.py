"""Textual inversions: the same words, tokens and pictures as diffusers has after loading them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.metrics import psnr_db
from edgegen_runner.tokenizers.clip import ClipTokenizer
from numpy.typing import NDArray
from safetensors.numpy import save_file

from edgegen.core.errors import EdgegenError
from edgegen.drawer import DrawRequest
from edgegen.models.adapters.adapted_folder import with_adapters
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.build import build
from edgegen.packaging.plan import plan
from edgegen.reference.drawer import TorchDrawer
from edgegen.runner.drawers import PackageDrawer
from tests.conftest import TinyPipeline
from tests.tiny_models import HIDDEN, HIDDEN_2

# diffusers says so where it corrects an old configuration
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

LEAST_PSNR_DB = 60.0
PROMPTS = (
    *("a <toy>", "<toy> and the cat", "a<toy>,the <Toy>", "toys <toy>_1", "a <toy> <toy>", "cat"),
    "the <toy> and the dog in the cat " * 8,
)


def vectors(*shape: int, seed: int = 1) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(shape)
    return values.astype(np.float32)


def loaded(model: Path) -> Any:
    from diffusers import DiffusionPipeline

    return DiffusionPipeline.from_pretrained(str(model), safety_checker=None)


def packaged(model: Path, embeddings: Sequence[str], folder: Path) -> PackageDrawer:
    adapted = with_adapters(resolve(str(model)), [], embeddings)
    build(plan(adapted, target="onnx", recipe="fp32", destination=folder), parity=False)
    return PackageDrawer(folder)


def require_same_pictures(pipeline: Any, model: Path, package: PackageDrawer) -> None:
    spec = read_pipeline(resolve(str(model)))
    torch_drawer = TorchDrawer(pipeline, spec.family, spec.generation)
    requests = [
        DrawRequest(prompt=prompt, negative_prompt="a <toy>", seed=3, steps=2, guidance=4.0)
        for prompt in ("a <toy> and the dog", "the dog")
    ]
    expected = torch_drawer.draw(requests)
    assert expected[0].tobytes() != expected[1].tobytes()
    for ours, theirs in zip(package.draw(requests), expected, strict=True):
        reached = psnr_db(theirs, ours, peak=255.0)
        assert reached is None or reached >= LEAST_PSNR_DB


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_a_package_draws_a_learned_word_as_diffusers_does(
    count: int, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tiny_pipeline("sd15")
    file = tmp_path / "learned_embeds.safetensors"
    save_file({"<toy>": vectors(count, HIDDEN)}, file)
    pipeline = loaded(model)
    pipeline.load_textual_inversion(str(file))
    package = packaged(model, [str(file)], tmp_path / "package")
    require_same_pictures(pipeline, model, package)


@pytest.mark.slow
def test_a_package_draws_a_word_of_two_text_encoders_as_diffusers_does(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    import torch

    model = tiny_pipeline("sdxl")
    file = tmp_path / "both.safetensors"
    both = {"clip_l": vectors(2, HIDDEN), "clip_g": vectors(2, HIDDEN_2, seed=2)}
    save_file(both, file)
    pipeline = loaded(model)
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            torch.from_numpy(both[key]),
            token="<toy>",
            tokenizer=getattr(pipeline, f"tokenizer{number}"),
            text_encoder=getattr(pipeline, f"text_encoder{number}"),
        )
    package = packaged(model, [f"{file}:<toy>"], tmp_path / "package")
    require_same_pictures(pipeline, model, package)


def as_saved_by_transformers_5(model: Path) -> None:
    """`tokenizer.json` and a configuration, no lists."""
    tokenizer = loaded_tokenizer(model)
    shutil.rmtree(model / "tokenizer")
    tokenizer.save_pretrained(model / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        (model / "tokenizer" / name).unlink(missing_ok=True)


def with_a_decoder(model: Path) -> None:
    """As transformers 4.34 and later saved it: the configuration lists added tokens."""
    path = model / "tokenizer" / "tokenizer_config.json"
    vocabulary = json.loads((model / "tokenizer" / "vocab.json").read_text(encoding="utf-8"))
    decoder = {
        str(vocabulary[token]): {"content": token, "special": True, "normalized": False}
        for token in ("<|startoftext|>", "<|endoftext|>")
    }
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**settings, "added_tokens_decoder": decoder}), encoding="utf-8")


def loaded_tokenizer(model: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(str(model / "tokenizer"))


@pytest.mark.parametrize(
    "change",
    [None, as_saved_by_transformers_5, with_a_decoder],
)
def test_tokens_are_those_of_diffusers_whichever_files_a_tokenizer_has(
    change: Any, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_pipeline("sd15"), model)
    if change is not None:
        change(model)
    file = tmp_path / "a.safetensors"
    save_file({"<toy>": vectors(3, HIDDEN)}, file)
    save_file({"the": vectors(HIDDEN, seed=2)}, tmp_path / "b.safetensors")
    files = [str(file), str(tmp_path / "b.safetensors")]
    pipeline = loaded(model)
    for each in files:
        pipeline.load_textual_inversion(each)

    folder = with_adapters(resolve(str(model)), [], files).path
    ours, theirs = ClipTokenizer.from_folder(folder / "tokenizer"), loaded_tokenizer(folder)
    rows = open_source(folder_source(folder)).weights("text_encoder")
    (key,) = (key for key in rows.entries if key.endswith("token_embedding.weight"))
    expected_rows = pipeline.text_encoder.get_input_embeddings().weight.detach().numpy()
    assert np.array_equal(rows.array(key), expected_rows)
    assert rows.entries[key].shape == expected_rows.shape
    for prompt in PROMPTS:
        converted = pipeline.maybe_convert_prompt(prompt, pipeline.tokenizer)
        settings = {"padding": "max_length", "truncation": True, "max_length": 77}
        expected = pipeline.tokenizer(converted, **settings).input_ids
        assert theirs(converted, **settings).input_ids == expected, prompt
        assert list(ours(ours.expand(prompt), 77).ids) == expected, prompt


@pytest.mark.parametrize(
    ("tensors", "given", "tokens"),
    [
        ({"emb_params": (2, HIDDEN)}, "", ("mine", "mine_1")),
        ({"emb_params": (HIDDEN,)}, "", ("mine",)),
        ({"emb_params": (2, HIDDEN)}, ":fox", ("fox", "fox_1")),
        ({"<toy>": (2, HIDDEN)}, ":<s0>,<s1>", ("<s0>", "<s1>")),
        ({"<toy>": (HIDDEN,)}, ":fox:", None),
    ],
)
def test_words_are_the_file_s_or_those_that_are_given(
    tensors: Mapping[str, tuple[int, ...]],
    given: str,
    tokens: tuple[str, ...] | None,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    model = resolve(str(tiny_pipeline("sd15")))
    file = tmp_path / "mine.safetensors"
    save_file({key: vectors(*shape) for key, shape in tensors.items()}, file)
    if tokens is None:
        with pytest.raises(EdgegenError, match="is no word"):
            with_adapters(model, [], [f"{file}{given}"])
        return
    spec = read_pipeline(with_adapters(model, [], [f"{file}{given}"]))
    assert spec.adapters[0].tokens == tokens


@pytest.mark.parametrize(
    ("tensors", "given", "why"),
    [
        ({"<toy>": (HIDDEN + 1,)}, "", "holds vectors of 33 numbers"),
        ({"<toy>": (1, 2, HIDDEN)}, "", "no textual inversion"),
        ({"a": (HIDDEN,), "b": (HIDDEN,)}, "", "no textual inversion"),
        ({"clip_g": (1, HIDDEN)}, "", "holds vectors of 32 numbers"),
        ({"<toy>": (3, HIDDEN)}, ":a,b", "holds 3 vectors"),
        ({"<|endoftext|>": (HIDDEN,)}, "", "has a token"),
        ({"x" * 10_000: (HIDDEN,)}, "", "letters"),
    ],
)
def test_what_is_no_word_of_the_model_is_refused(
    tensors: Mapping[str, tuple[int, ...]],
    given: str,
    why: str,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({key: vectors(*shape) for key, shape in tensors.items()}, file)
    with pytest.raises(EdgegenError, match=why):
        with_adapters(resolve(str(tiny_pipeline("sd15"))), [], [f"{file}{given}"])


def test_a_model_without_clip_s_tokenizer_takes_no_words(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({"<toy>": vectors(HIDDEN)}, file)
    with pytest.raises(EdgegenError, match="takes no textual inversion"):
        with_adapters(resolve(str(tiny_pipeline("pixart"))), [], [str(file)])
