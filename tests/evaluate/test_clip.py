"""CLIP similarity, with a tiny random CLIP on the disk: nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.core.errors import SourceError
from edgegen.core.progress import SilentProgress
from edgegen.evaluate.clip import add_similarity
from edgegen.evaluate.clip_child import _load
from edgegen.evaluate.pictures import Pair
from edgegen.scenes.render import render
from edgegen.scenes.scores import Split, sampled_requests
from tests.evaluate.results import result

PICTURES = [render(request.scene) for request in sampled_requests(Split.TRAINED, 1)]


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    side = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = CLIPConfig(
        text_config={**side, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**side, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    folder = tmp_path_factory.mktemp("clip")
    CLIPModel(config).save_pretrained(folder)
    return folder


def test_equal_pictures_are_alike_and_others_less(tiny_clip: Path) -> None:
    pairs = [
        Pair(number=0, result=result(None), reference=PICTURES[0], package=PICTURES[0]),
        Pair(number=1, result=result(9.0), reference=PICTURES[0], package=PICTURES[1]),
        Pair(number=2, result=result(scores={}), reference=PICTURES[0], package=PICTURES[1]),
    ]
    equal, other, not_compared = add_similarity(pairs, str(tiny_clip), SilentProgress())
    assert equal.result.scores["clip"] == pytest.approx(1.0, abs=1e-5)
    assert -1 <= (other.result.scores["clip"] or 0) < 0.9999
    assert not_compared.result.scores == {}


def test_weights_that_a_clip_lacks_are_not_made_up(tiny_clip: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(tiny_clip / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_bytes((tiny_clip / "config.json").read_bytes())
    with pytest.raises(SourceError, match=r"lacks 1 of its weights: visual_projection"):
        _load(str(tmp_path))


@pytest.mark.slow  # that a process of its own hands over what it finds is tried above
def test_weights_that_are_not_here_are_not_fetched() -> None:
    blank = np.zeros((32, 32, 3), np.uint8)
    pairs = [Pair(number=0, result=result(9.0), reference=blank, package=blank)]
    with pytest.raises(SourceError, match="no CLIP model") as caught:
        add_similarity(pairs, "org/clip-that-is-not-here", SilentProgress())
    assert "model.safetensors" in caught.value.hint


def test_a_folder_that_is_not_here_is_no_clip() -> None:
    with pytest.raises(SourceError, match="no CLIP model") as caught:
        _load("./no-such-folder")
    assert "model.safetensors" in caught.value.hint
