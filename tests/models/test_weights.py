"""A component's weights: which files they are, and what their tensors hold."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from edgegen.core.errors import SourceError
from edgegen.models.weight_files import check_variant
from edgegen.models.weights import Weights, check_finite, stored_variants

SINGLE = "diffusion_pytorch_model.safetensors"
SHARDS = tuple(f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2))
INDEX = "diffusion_pytorch_model.safetensors.index.json"


def tensors(dtype: str = "float32") -> dict[str, np.ndarray]:
    return {"a": np.arange(600, dtype=dtype).reshape(20, 30), "b": np.ones(5, dtype)}


def shard(folder: Path, names: tuple[str, ...] = SHARDS, index: str = INDEX) -> dict[str, str]:
    whole = tensors("float16")
    save_file({"a": whole["a"]}, folder / names[0])
    save_file({"b": whole["b"]}, folder / names[1])
    weight_map = {"a": names[0], "b": names[1]}
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return weight_map


def refused(folder: Path, variant: str | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Weights.open(folder, variant)
    assert str(folder) in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("name", [SINGLE, "model.safetensors", "model.fp16.safetensors"])
def test_weights_in_one_file_are_read(name, tmp_path):
    save_file(tensors(), tmp_path / name)

    weights = Weights.open(tmp_path)

    assert weights.files == (tmp_path / name,)
    assert weights.variant == ("fp16" if "fp16" in name else None)
    assert np.array_equal(weights.array("a"), tensors()["a"])
    assert weights.size_bytes == 605 * 4


@pytest.mark.parametrize(
    ("names", "index", "variant"),
    [
        (SHARDS, INDEX, None),
        (
            tuple(f"model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)),
            "model.safetensors.index.fp16.json",
            "fp16",
        ),
        (
            tuple(f"model-0000{i}-of-00002.fp16.safetensors" for i in (1, 2)),
            "model.safetensors.fp16.index.json",
            "fp16",
        ),
    ],
    ids=["plain", "variant", "variant as diffusers wrote it before 0.20"],
)
def test_weights_in_shards_are_read_through_their_index(names, index, variant, tmp_path):
    shard(tmp_path, names, index)

    weights = Weights.open(tmp_path)

    assert weights.variant == variant
    assert [file.name for file in weights.files] == list(names)
    assert np.array_equal(weights.array("a"), tensors("float16")["a"])
    assert np.array_equal(weights.array("b"), tensors("float16")["b"])


def test_shards_are_read_where_each_is_a_link_as_in_a_hub_s_cache(tmp_path):
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    shard(tmp_path / "blobs")
    for path in (tmp_path / "blobs").iterdir():
        (snapshot / path.name).symlink_to(path)

    assert set(Weights.open(snapshot).entries) == {"a", "b"}


LAYOUTS = {
    "one": [("{stem}.safetensors", None)],
    "shards": [("{stem}-00001-of-00001.safetensors", "{stem}.safetensors.index.json")],
    "fp16": [("{stem}.fp16.safetensors", None)],
    "fp16 shards": [
        ("{stem}.fp16-00001-of-00001.safetensors", "{stem}.safetensors.index.fp16.json")
    ],
    "pickle": [("{pickle}.bin", None)],
    "non_ema": [("{stem}.non_ema.safetensors", None)],
}


def lay_out(folder: Path, model: Any, layout: str, value: float) -> None:
    """Write one set of weights, all of them `value`, as diffusers and transformers name it."""
    import torch
    from safetensors.torch import save_file as save_torch

    library = "model" if folder.name == "text_encoder" else "diffusion_pytorch_model"
    pickled = "pytorch_model" if library == "model" else library
    filled = {key: torch.full_like(it, value) for key, it in model.state_dict().items()}
    for pattern, index in LAYOUTS[layout]:
        name = pattern.format(stem=library, pickle=pickled)
        if name.endswith(".bin"):
            torch.save(filled, folder / name)
            continue
        save_torch(filled, folder / name, metadata={"format": "pt"})
        if index is not None:
            listed = {"metadata": {}, "weight_map": dict.fromkeys(filled, name)}
            (folder / index.format(stem=library)).write_text(json.dumps(listed))


def tiny_models() -> dict[str, Any]:
    import torch
    import transformers
    from diffusers import ConfigMixin, ModelMixin
    from diffusers.configuration_utils import register_to_config

    class Tiny(ModelMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
        config_name = "config.json"

        @register_to_config
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 2)

    text = transformers.CLIPTextConfig(
        hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
    )
    return {
        "vae": Tiny(),
        "text_encoder": transformers.CLIPTextModel(text),
    }


@pytest.mark.parametrize("component", ["vae", "text_encoder"])
def test_the_weights_that_diffusers_takes_are_taken_in_every_layout(component, tmp_path):
    from diffusers.pipelines.pipeline_loading_utils import _identify_model_variants
    from diffusers.utils import logging

    logging.set_verbosity(logging.CRITICAL)
    model = tiny_models()[component]
    taken = {}
    for number, chosen in enumerate(
        it for size in range(1, 4) for it in itertools.combinations(LAYOUTS, size)
    ):
        pipeline = tmp_path / str(number)
        folder = pipeline / component
        model.save_pretrained(folder)
        next(folder.glob("*.safetensors")).unlink()
        for layout in chosen:
            lay_out(folder, model, layout, float(1 + list(LAYOUTS).index(layout)))
        for variant in (None, "fp16", "non_ema"):
            of_component = _identify_model_variants(pipeline, variant, {component: []})
            try:
                theirs = type(model).from_pretrained(folder, variant=of_component.get(component))
            except OSError:
                expected = "nothing"
            else:
                value = next(iter(theirs.state_dict().values())).flatten()[0]
                expected = list(LAYOUTS)[int(value) - 1]
            try:
                weights = Weights.open(folder, variant)
            except SourceError:
                ours = "nothing"
            else:
                value = weights.array(next(iter(weights.entries))).flat[0]
                ours = list(LAYOUTS)[int(value) - 1]
            taken[chosen, variant] = (ours, "nothing" if expected == "pickle" else expected)

    differing = {key: pair for key, pair in taken.items() if pair[0] != pair[1]}
    # the one that differs: diffusers wants `variant="fp16"` where there is nothing else
    only = [("fp16",), ("fp16 shards",), ("fp16", "fp16 shards")]
    assert sorted(differing) == [(chosen, None) for chosen in sorted(only)]
    assert all(theirs == "nothing" for _, theirs in differing.values())
    assert len(taken) == 3 * 41


def test_a_variant_that_is_another_model_is_taken_only_when_asked_for(tmp_path):
    save_file(tensors(), tmp_path / SINGLE)
    save_file(tensors("float16"), tmp_path / "diffusion_pytorch_model.non_ema.safetensors")

    assert Weights.open(tmp_path).variant is None
    assert Weights.open(tmp_path, "non_ema").variant == "non_ema"


def test_a_folder_with_only_another_model_s_variant_says_which(tmp_path):
    save_file(tensors(), tmp_path / "diffusion_pytorch_model.non_ema.safetensors")

    assert "non_ema" in refused(tmp_path).hint


def test_an_unknown_variant_is_answered_with_the_nearest(tmp_path):
    save_file(tensors(), tmp_path / "model.fp16.safetensors")

    with pytest.raises(SourceError, match="'fp61'") as caught:
        check_variant("fp61", [stored_variants(tmp_path)], model="a model")
    assert "Did you mean 'fp16'?" in caught.value.hint


def test_a_truncated_file_that_is_not_taken_does_not_matter(tmp_path):
    save_file(tensors(), tmp_path / SINGLE)
    other = tmp_path / "diffusion_pytorch_model.fp16.safetensors"
    save_file(tensors("float16"), other)
    with other.open("ab") as file:
        file.write(b"more")

    assert Weights.open(tmp_path).variant is None


def test_pickles_are_refused_by_name_and_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "exploded"),))

    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))

    error = refused(tmp_path)

    assert "diffusion_pytorch_model.bin" in error.message
    assert "can run any program" in error.message
    assert "save_pretrained(FOLDER, safe_serialization=True)" in error.hint
    assert not (tmp_path / "exploded").exists()


def test_a_folder_without_weights_says_what_it_holds(tmp_path):
    (tmp_path / "config.json").touch()

    error = refused(tmp_path)

    assert "has no weights" in error.message
    assert "config.json" in error.hint


def test_a_missing_folder_is_named(tmp_path):
    assert "does not exist" in refused(tmp_path / "unet").message


def test_shards_without_their_index_are_refused(tmp_path):
    shard(tmp_path)
    (tmp_path / INDEX).unlink()

    error = refused(tmp_path)

    assert SHARDS[0] in error.message
    assert ".index.json" in error.hint


def test_a_missing_shard_is_named(tmp_path):
    shard(tmp_path)
    (tmp_path / SHARDS[1]).unlink()

    assert SHARDS[1] in refused(tmp_path).message


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}, "'c' is in"),
        ({"a": SHARDS[0], "b": SHARDS[0]}, "'b' is in"),
        ({"a": SHARDS[0]}, None),
        ({"a": SHARDS[0], "b": "../" + SHARDS[1]}, "not a shard beside it"),
        ({"a": SHARDS[0], "b": "/etc/" + SHARDS[1]}, "not a shard beside it"),
        ({"a": SHARDS[0], "b": "sub/" + SHARDS[1]}, "not a shard beside it"),
        ({"a": SHARDS[0], "b": "model.bin"}, "not a shard beside it"),
        ({"a": SHARDS[0], "b": 3}, "not a shard beside it"),
        ({}, "no 'weight_map'"),
        ([], "no 'weight_map'"),
    ],
)
def test_an_index_that_disagrees_with_its_shards_is_refused(weight_map, words, tmp_path):
    shard(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))

    if words is None:  # a shard that the index does not name is a file like any other
        assert set(Weights.open(tmp_path).entries) == {"a"}
    else:
        assert words in refused(tmp_path).message


def test_a_key_that_the_index_leaves_out_of_a_shard_that_it_uses_is_refused(tmp_path):
    shard(tmp_path)
    save_file({**tensors("float16")}, tmp_path / SHARDS[0])

    assert "'b', which" in refused(tmp_path).message


def test_an_index_that_is_not_json_is_refused(tmp_path):
    shard(tmp_path)
    (tmp_path / INDEX).write_text("{")

    assert "is not JSON" in refused(tmp_path).message


@pytest.mark.parametrize("target", ["float32", "float64", "float16", None])
def test_bfloat16_is_converted_exactly(target, tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch

    every_value = torch.arange(0, 1 << 16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    save_torch({"a": every_value}, tmp_path / "model.safetensors")

    array = Weights.open(tmp_path).array("a", target)

    expected = every_value.to(getattr(torch, target or "float32")).numpy()
    assert array.dtype == (target or "float32")
    assert np.array_equal(array, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_every_number_of_eight_bits_is_upcast_as_in_torch(dtype, tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch

    every_value = torch.arange(256, dtype=torch.uint8).view(getattr(torch, dtype))
    save_torch({"a": every_value}, tmp_path / "model.safetensors")

    array = Weights.open(tmp_path).array("a")

    assert np.array_equal(array, every_value.to(torch.float32).numpy(), equal_nan=True)
    assert np.signbit(array[0x80])  # the other zero


def test_numbers_of_eight_bits_with_scales_are_refused(tmp_path):
    import torch
    from safetensors.torch import save_file as save_torch

    stored = {"a.weight": torch.ones(2).to(torch.float8_e4m3fn), "a.scale_weight": torch.ones(1)}
    save_torch(stored, tmp_path / "model.safetensors")

    assert "'a.scale_weight'" in refused(tmp_path).message


def test_a_pointer_of_git_lfs_says_what_to_run(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3438167540\n"
    (tmp_path / SINGLE).write_text(pointer)

    error = refused(tmp_path)

    assert "pointer of git-lfs" in error.message
    assert "git lfs pull" in error.hint


def test_an_array_has_the_tensor_s_shape_and_the_type_that_was_asked_for(tmp_path):
    save_file(tensors("float16"), tmp_path / SINGLE)

    array = Weights.open(tmp_path).array("a", np.float32)

    assert array.shape == (20, 30)
    assert array.dtype == np.float32
    assert np.array_equal(array, tensors()["a"])


def test_a_value_too_large_for_the_type_becomes_infinite_and_is_found(tmp_path):
    save_file({"a": np.array([1e6], np.float32)}, tmp_path / SINGLE)

    array = Weights.open(tmp_path).array("a", np.float16)

    with pytest.raises(SourceError, match="'conv_in'"):
        check_finite("conv_in", array)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 300_000, 599_999])
def test_one_value_that_is_not_finite_is_found_wherever_it_is(dtype, bad, place):
    array = np.ones(600_000, dtype).reshape(600, 1000)
    array.reshape(-1)[place] = bad

    with pytest.raises(SourceError) as caught:
        check_finite("up_blocks.0.weight", array)

    assert "'up_blocks.0.weight'" in caught.value.message
    assert f"1 value not finite ({bad})" in caught.value.message
    assert "600,000" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_largest_and_smallest_numbers_are_finite(dtype):
    limits = np.finfo(dtype)

    check_finite("a", np.array([limits.max, limits.min, limits.smallest_subnormal, 0], dtype))
    check_finite("empty", np.zeros((0, 3), dtype))
    check_finite("integers", np.array([1, 2]))


def test_the_hash_depends_on_every_byte_and_on_nothing_else(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shard(tmp_path / name)
    first, second = (Weights.open(tmp_path / name).sha256() for name in ("one", "two"))
    changed = tensors("float16")["b"]
    changed[-1] = 2
    save_file({"b": changed}, tmp_path / "two" / SHARDS[1])

    assert first == second
    assert Weights.open(tmp_path / "two").sha256() != first
