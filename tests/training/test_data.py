"""What a stage is given: scenes with their shares, captions as tokens, collages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgegen.models.source import resolve
from edgegen.scenes.scene import WHITE
from training.dataset import Captions, TrainingScenes, tokenize
from training.settings import CAPTION_TOKENS, MIX
from training.tokens import make_tokenizer


@pytest.fixture(scope="module")
def training_scenes():
    return TrainingScenes()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, training_scenes):
    texts = [caption for scene in training_scenes.scenes[:20_000] for caption in scene.captions]
    return make_tokenizer(texts, tmp_path_factory.mktemp("tokenizer"))


def test_the_shares_of_a_batch_are_those_of_the_settings(training_scenes):
    drawn = training_scenes.draw(20_000, torch.Generator().manual_seed(0)).tolist()
    kinds = [
        (training_scenes.scenes[index].kind, training_scenes.scenes[index].background != WHITE)
        for index in drawn
    ]
    for key, share in MIX.items():
        assert kinds.count(key) / len(kinds) == pytest.approx(share, abs=0.015)
    assert sum(MIX.values()) == pytest.approx(1)


def test_the_same_generator_draws_the_same_batch(training_scenes):
    first, again = (training_scenes.draw(64, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)


def test_collages_are_pictures_that_differ(training_scenes):
    pictures = training_scenes.collages(8, torch.Generator().manual_seed(0))
    assert pictures.shape == (8, 3, 64, 64)
    assert pictures.abs().max() <= 1
    assert len(torch.unique(pictures, dim=0)) == 8


def test_captions_are_a_scenes_own_and_some_are_emptied(training_scenes, tokenizer):
    few = training_scenes.scenes[:50]
    captions = tokenize(few, tokenizer)
    indices = torch.arange(50).repeat(20)
    drawn = captions.draw(indices, 0.2, torch.Generator().manual_seed(0))
    assert drawn.shape == (1000, CAPTION_TOKENS)
    emptied = (drawn.numpy() == captions.empty).all(1)
    assert emptied.mean() == pytest.approx(0.2, abs=0.05)
    own = [
        {tuple(row) for row in captions.ids[captions.starts[i] : captions.starts[i + 1]].tolist()}
        for i in range(50)
    ]
    for index, row in zip(indices[~emptied].tolist(), drawn[~emptied].tolist(), strict=True):
        assert tuple(row) in own[index]


def test_a_caption_that_is_too_long_is_refused(training_scenes, tokenizer):
    scene = training_scenes.scenes[0]
    long = type(scene)(
        kind=scene.kind,
        background=scene.background,
        placements=scene.placements,
        captions=("fox " * 40,),
    )
    with pytest.raises(ValueError, match="reads 24"):
        tokenize([long], tokenizer)


def test_the_tokenizer_has_whole_words_and_can_spell_any_other(tokenizer):
    assert len(tokenizer("a red fox").input_ids) == 5
    ids = tokenizer("xylophone zq9").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert tokenizer.decode(ids[1:-1]).replace(" ", "") == "xylophonezq9"


def test_captions_hold_their_rows_by_scene():
    captions = Captions(
        np.array([[1], [2], [3]], np.int16), np.array([0, 1, 3]), np.array([0], np.int16)
    )
    drawn = captions.draw(torch.tensor([0, 1]), 0.0, torch.Generator().manual_seed(0))
    assert drawn[0].item() == 1
    assert drawn[1].item() in (2, 3)


def test_the_tokenizer_of_all_captions_is_the_one_that_ships(tmp_path, training_scenes):
    texts = [caption for scene in training_scenes.scenes for caption in scene.captions]
    make_tokenizer(texts, tmp_path)
    shipped = resolve("builtin:scenes").path / "tokenizer"
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / name).read_text("utf-8") == (shipped / name).read_text("utf-8")
