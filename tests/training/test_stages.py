"""Every stage, as `python -m training` runs them: stopped, gone on to the end, and run again."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

import training.__main__
import training.autoencoder
import training.dataset
import training.denoiser
import training.distiller
import training.loop
import training.tiny_autoencoder
import training.watch
from edgegen.core.files import sha256_of
from edgegen.scenes.catalogue import scenes
from edgegen.scenes.combinations import Split
from edgegen.scenes.scene import WHITE
from edgegen.scenes.scores import Request
from training.autoencoder import encode_all, train_autoencoder
from training.dataset import TrainingScenes
from training.loop import OtherBasisError, OutOfTimeError, Stage
from training.settings import DENOISER_CONFIG, MIX, Schedule

CPU = torch.device("cpu")
SHORT = Schedule(steps=2, batch=2, learning_rate=1e-3, warmup=1)
SCHEDULES = {
    "autoencoder": (training.autoencoder, "AUTOENCODER"),
    "denoiser": (training.denoiser, "DENOISER"),
    "decoder": (training.autoencoder, "DECODER"),
    "distiller": (training.distiller, "DISTILLER"),
    "tiny-autoencoder": (training.tiny_autoencoder, "TINY_AUTOENCODER"),
}
"""Where each stage has its schedule from."""


@pytest.fixture(scope="module")
def few_scenes():
    """Three scenes of each kind, without and with a colour."""
    found = []
    counts = Counter()
    for scene in scenes(Split.TRAINED):
        group = scene.kind, scene.background != WHITE
        if counts[group] < 3:
            counts[group] += 1
            found.append(scene)
        if len(found) == 3 * len(MIX):
            break
    return found


@pytest.fixture(scope="module", autouse=True)
def small(few_scenes):
    """Let each stage take two steps of two pictures, of few scenes; a thin UNet, not compiled."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in SCHEDULES.values():
            patch.setattr(module, name, SHORT)
        thin = {**DENOISER_CONFIG, "block_out_channels": (16, 16, 32)}
        patch.setattr(training.denoiser, "DENOISER_CONFIG", thin)
        patch.setattr(training.dataset, "scenes", lambda split: few_scenes)
        patch.setattr(training.autoencoder, "_MEASURED", 4)
        patch.setattr(training.autoencoder, "_COMPARED", 4)
        patch.setattr(training.autoencoder, "_ENCODED_AT_ONCE", 16)
        patch.setattr(
            training.watch,
            "sampled_requests",
            lambda split, number: [Request(split, few_scenes[0], few_scenes[0].captions[0], 0)],
        )
        patch.setattr(
            training.denoiser, "Stage", lambda **options: Stage(**options | {"is_compiled": False})
        )
        patch.setattr(training.__main__, "stop_when_interrupted", lambda: None)
        yield


def train(work, *options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["training", "--work", str(work), "--device", "cpu", *options])
        return training.__main__.main()


@pytest.fixture(scope="module")
def work(small, tmp_path_factory):
    """The work folder of a run that was stopped in each stage, and went on to the end."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.autoencoder, "_ENCODED_AT_ONCE", 64)  # all in one batch
        for _ in SCHEDULES:
            assert train(folder, "--minutes", "0") == 3
        assert train(folder, "--minutes", "0") == 0
    return folder


def contents(folder):
    return {
        str(path.relative_to(folder)): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_run_that_is_stopped_says_how_to_go_on_and_is_no_success(tmp_path, capsys):
    assert train(tmp_path, "--minutes", "0") == 3
    said = capsys.readouterr().out
    assert "autoencoder: stopped after step 1 of 2. Run the same command again to go on." in said


@pytest.mark.parametrize(
    "name",
    [pytest.param("scenes", marks=pytest.mark.slow), "scenes-4step", "scenes-4step-tiny"],
)
def test_a_trained_model_draws_with_diffusers(work, name):
    pipeline = StableDiffusionPipeline.from_pretrained(work / "models" / name, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    pictures = pipeline(
        "a red fox", num_inference_steps=1, generator=generator, output_type="np"
    ).images
    assert pictures.shape == (1, 64, 64, 3)
    assert np.isfinite(pictures).all()


def test_the_last_weights_are_scored_even_where_the_time_is_over(work):
    for name in ("denoiser", "distiller"):
        rows = (work / f"{name}.scores.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["step", "2", "2"]


def test_a_second_run_trains_nothing_and_changes_nothing(work, monkeypatch):
    monkeypatch.setattr(training.loop, "_follow", None)  # a step would fail
    before = contents(work)
    assert not [name for name in before if ".part" in name]
    assert train(work) == 0
    assert contents(work) == before


@pytest.mark.parametrize(
    "stage",
    [
        it if it in ("autoencoder", "distiller") else pytest.param(it, marks=pytest.mark.slow)
        for it in SCHEDULES
    ],
)
def test_a_stage_of_another_length_is_refused(work, stage, monkeypatch, capsys):
    module, name = SCHEDULES[stage]
    monkeypatch.setattr(module, name, replace(SHORT, steps=3))
    monkeypatch.setattr(training.__main__, "_save", lambda pipeline, folder: None)
    refused = "vae" if stage == "autoencoder" else f"{stage}.checkpoint.safetensors"
    before = contents(work)
    assert train(work) == 2
    message = capsys.readouterr().err
    assert f"{work / refused} was " in message
    assert " other settings, data or earlier stages. Remove it to " in message
    assert contents(work) == before


def test_a_denoiser_of_other_captions_is_refused(work, few_scenes, monkeypatch, capsys):
    others = [replace(few_scenes[0], captions=("another",)), *few_scenes[1:]]
    monkeypatch.setattr(training.dataset, "scenes", lambda split: others)
    assert train(work) == 2
    assert "denoiser.checkpoint.safetensors was trained on other" in capsys.readouterr().err


def test_a_student_of_another_teacher_is_refused(work, tmp_path, monkeypatch, capsys):
    copied = shutil.copytree(work, tmp_path / "work")
    monkeypatch.setattr(training.denoiser, "DENOISER", replace(SHORT, learning_rate=1e-4))
    (copied / "denoiser.checkpoint.safetensors").unlink()
    assert train(copied) == 2
    assert "distiller.checkpoint.safetensors was trained on other" in capsys.readouterr().err


def test_each_stage_has_a_basis_of_its_own(work):
    bases = set()
    for stage in SCHEDULES:
        with safe_open(work / f"{stage}.checkpoint.safetensors", "pt") as file:
            bases.add(file.metadata()["basis"])
    assert len(bases) == len(SCHEDULES)
    assert all(len(basis) == 64 for basis in bases)


def test_encoding_stops_at_the_deadline_and_leaves_nothing(work, tmp_path):
    few = TrainingScenes()
    autoencoder = train_autoencoder(few, work, CPU, None)
    path = tmp_path / "latents.npy"
    with pytest.raises(OutOfTimeError, match="latents: stopped after 16 of 30 scenes"):
        encode_all(autoencoder, few, path, CPU, time.monotonic())
    assert not list(tmp_path.iterdir())
    latents = encode_all(autoencoder, few, path, CPU, None)
    assert np.array_equal(latents, np.load(work / "latents.npy"))


def test_latents_of_other_scenes_or_of_another_autoencoder_are_refused(work, few_scenes):
    few = TrainingScenes()
    autoencoder = train_autoencoder(few, work, CPU, None)
    path = work / "latents.npy"
    others = TrainingScenes()
    others.scenes = few_scenes[::-1]
    with pytest.raises(OtherBasisError, match=r"latents\.npy was made from other"):
        encode_all(autoencoder, others, path, CPU, None)
    with torch.no_grad():
        next(autoencoder.encoder.parameters()).add_(1e-3)
    with pytest.raises(OtherBasisError, match=r"latents\.npy was made from other"):
        encode_all(autoencoder, few, path, CPU, None)
