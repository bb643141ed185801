"""The models that ship with edgegen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.drawer import DrawRequest
from edgegen.models.licences import licence_files
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.models.weights import Weights, check_finite
from edgegen.reference.drawer import TorchDrawer
from edgegen.scenes.combinations import Split
from edgegen.scenes.scores import judge_all, sampled_requests

LARGEST_BYTES = 32_000_000
OF_EACH = 4

every_model = pytest.mark.parametrize("name", BUILTIN_MODELS)


@every_model
def test_a_model_is_described_with_the_settings_of_its_card(name):
    folder = resolve(name)
    spec = read_pipeline(folder)

    known = BUILTIN_MODELS[name]
    assert spec.family == "stable-diffusion"
    assert (spec.generation.steps, spec.generation.guidance) == (known.steps, known.guidance)
    assert (spec.generation.width, spec.generation.text_length) == (64, 24)
    assert spec.licence == "apache-2.0"
    settings = re.search(
        r"(\d+) \w+ steps, guidance (\d+)", (folder.path / "README.md").read_text()
    )
    assert settings is not None
    assert [float(figure) for figure in settings.groups()] == [known.steps, known.guidance]


@every_model
def test_weights_are_finite_small_and_stored_in_fp16(name):
    folder = resolve(name).path
    for component in ("text_encoder", "unet", "vae"):
        weights = Weights.open(folder / component)
        for key, entry in weights.entries.items():
            assert entry.dtype == "float16"
            check_finite(key, weights.array(key))
    files = [path for path in folder.rglob("*") if path.suffix == ".safetensors"]
    assert sum(path.stat().st_size for path in files) <= LARGEST_BYTES


@every_model
def test_a_model_ships_the_licences_of_what_it_was_trained_on(name):
    folder = resolve(name).path
    names = [path.name for path in licence_files(folder)]

    assert names == ["LICENSE", "LICENSE-emoji-data.txt", "NOTICE"]
    notice = (folder / "NOTICE").read_text()
    assert "Noto Emoji" in notice
    assert "Cal Henderson" in notice
    assert "Version 2.0, January 2004" in (folder / "LICENSE").read_text()


@every_model
def test_a_card_links_to_nothing_outside_its_folder(name):
    folder = resolve(name).path
    card = (folder / "README.md").read_text()

    assert not re.findall(r"\.\./|`/", card)
    for named in re.findall(r"`([\w.-]+\.(?:png|txt|md|csv)|NOTICE|LICENSE)`", card):
        assert (folder / named).is_file(), named


def test_emoji_loads_in_plain_diffusers_and_draws_what_is_asked_for():
    import diffusers
    import torch

    folder = resolve("builtin:emoji").path
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
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


@pytest.mark.parametrize(
    "name",
    [
        "builtin:scenes-4step",
        "builtin:scenes-4step-tiny",
        pytest.param("builtin:scenes", marks=pytest.mark.slow),
    ],
)
def test_a_scenes_model_draws_most_of_what_captions_ask_for(name):
    import diffusers
    import torch

    folder = resolve(name)
    spec = read_pipeline(folder)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder.path, dtype=torch.float32)
    settings = DrawRequest(steps=min(spec.generation.steps, 10))
    drawer = TorchDrawer(pipeline, spec.family, spec.generation)

    requests = sampled_requests(Split.TRAINED, OF_EACH)
    judged = list(judge_all(requests, drawer, settings, batch=24))

    assert np.mean([verdict.colour for _, _, verdict in judged]) > 0.8
    assert np.mean([verdict.count for _, _, verdict in judged]) > 0.7
    assert np.mean([verdict.things for _, _, verdict in judged]) > 0.5
    placed = [verdict.placement for _, _, verdict in judged if verdict.placement is not None]
    assert len(placed) == 2 * OF_EACH, "places and pairs"
    assert np.mean(placed) > 0.7
