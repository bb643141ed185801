"""`builtin:emoji`, the model that ships with edgegen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgegen.pipelines.licences import licence_files
from edgegen.pipelines.read import read_pipeline
from edgegen.pipelines.source import resolve
from edgegen.pipelines.weights import Weights, check_finite


@pytest.fixture(scope="module")
def emoji():
    return resolve("builtin:emoji")


def test_emoji_is_described_with_the_settings_of_its_card(emoji):
    spec = read_pipeline(emoji)

    assert spec.family == "stable-diffusion"
    assert (spec.generation.steps, spec.generation.guidance) == (25, 3.0)
    assert (spec.generation.width, spec.generation.text_length) == (64, 24)
    assert spec.licence == "apache-2.0"


def test_emoji_s_weights_are_finite_and_stored_in_fp16(emoji):
    for folder in ("text_encoder", "unet", "vae"):
        weights = Weights.open(emoji.path / folder)
        for key, entry in weights.entries.items():
            assert entry.dtype == "float16"
            check_finite(key, weights.array(key))


def test_emoji_ships_the_licences_of_what_it_was_trained_on(emoji):
    names = [path.name for path in licence_files(emoji.path)]

    assert names == ["LICENSE", "LICENSE-emoji-data.txt", "NOTICE"]
    notice = (emoji.path / "NOTICE").read_text()
    assert "Noto Emoji" in notice
    assert "Cal Henderson" in notice
    assert "Version 2.0, January 2004" in (emoji.path / "LICENSE").read_text()


def test_emoji_s_card_links_to_nothing_outside_its_folder(emoji):
    card = (emoji.path / "README.md").read_text()

    assert not re.findall(r"\.\./|`/", card)
    for name in re.findall(r"`([\w.-]+\.(?:png|txt|md)|NOTICE|LICENSE)`", card):
        assert (emoji.path / name).is_file(), name


def test_emoji_loads_in_plain_diffusers_and_draws_what_is_asked_for(emoji):
    import diffusers
    import torch

    pipeline = diffusers.DiffusionPipeline.from_pretrained(emoji.path, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def image(prompt: str) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        result = pipeline(
            prompt,
            num_inference_steps=6,
            guidance_scale=3.0,
            generator=generator,
            output_type="np",
            height=64,
            width=64,
        )
        return np.asarray(result.images[0])

    red, green = image("strawberry"), image("broccoli")
    assert red.shape == (64, 64, 3)
    assert (red[..., 0] - red[..., 1]).mean() > 0.05
    assert (green[..., 1] - green[..., 0]).mean() > 0.02
