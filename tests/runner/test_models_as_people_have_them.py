"""Pipelines as people save, patch and copy them make the images that diffusers makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runner.test_run_matches_diffusers import (
    LOWEST_PSNR_DB,
    Drawing,
    _drawn,
    _expected,
    _package,
    _psnr_db,
)

PROMPT = "a <toy> cat and the dog"


@dataclass(frozen=True)
class Situation:
    """What somebody did to a pipeline; `as_it_was`: diffusers draws from what it was before."""

    family: str
    change: Callable[[Path], None]
    as_it_was: bool = False
    pipeline: str = "StableDiffusionPipeline"


def a_concept_of_three_vectors(folder: Path) -> None:
    import diffusers
    import torch

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    width = pipeline.text_encoder.config.hidden_size
    learned = torch.randn(3, width, generator=torch.Generator().manual_seed(5))
    pipeline.load_textual_inversion({"<toy>": learned}, token="<toy>")
    pipeline.save_pretrained(folder)


def rename_keys(path: Path, rename: Callable[[str], str]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {rename(key): tensor for key, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def wrapped(folder: Path) -> None:
    unet = folder / "unet/diffusion_pytorch_model.safetensors"
    rename_keys(unet, lambda key: f"_orig_mod.{key.replace('.to_q.', '.to_q.base_layer.')}")
    rename_keys(folder / "vae/diffusion_pytorch_model.safetensors", "module.{}".format)
    rename_keys(folder / "text_encoder/model.safetensors", "_orig_mod.{}".format)


def more_in_the_file(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "unet/diffusion_pytorch_model.safetensors"
    more = {"ema.decay": torch.ones(1), "conv_in.lora.down.weight": torch.ones(4, 2)}
    save_file(load_file(path) | more, path, metadata={"format": "pt"})


def clip_skip(folder: Path) -> None:
    change(folder / "text_encoder/config.json", num_hidden_layers=1)


def a_whole_clip_model(folder: Path) -> None:
    path = folder / "text_encoder/config.json"
    of_text = json.loads(path.read_text())
    path.write_text(json.dumps({"model_type": "clip", "text_config": of_text, "vision_config": {}}))


def more_tokens_than_positions(folder: Path) -> None:
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=512)


def tokens_without_end(folder: Path) -> None:
    change(folder / "tokenizer/tokenizer_config.json", model_max_length=10**30)


def dpm_solver_as_diffusers_saves_it(folder: Path) -> None:
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.scheduler = scheduler
    pipeline.save_pretrained(folder)
    assert "-Infinity" in (folder / "scheduler/scheduler_config.json").read_text()


def means_of_latents(folder: Path) -> None:
    statistics = {"latents_mean": [0.3, -0.2, 0.1, 0], "latents_std": [1.5, 0.8, 1, 1.2]}
    change(folder / "vae/config.json", **statistics)


def float8(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for part in ("unet", "vae"):
        path = folder / part / "diffusion_pytorch_model.safetensors"
        small = {key: it.to(torch.float8_e4m3fn) for key, it in load_file(path).items()}
        save_file(small, path, metadata={"format": "pt"})


def projected_states(folder: Path) -> None:
    import diffusers

    config = {**diffusers.UNet2DConditionModel.load_config(folder / "unet")}
    config |= {
        "encoder_hid_dim": 32,
        "encoder_hid_dim_type": "text_proj",
        "cross_attention_dim": 24,
    }
    diffusers.UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")


def another_variant_beside(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "unet/diffusion_pytorch_model.safetensors"
    other = {key: (-it).to(torch.float16) for key, it in load_file(path).items()}
    save_file(other, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
    (folder / "vae/diffusion_pytorch_model.non_ema.safetensors").write_bytes(path.read_bytes())


XL = "StableDiffusionXLPipeline"
SITUATIONS = {
    "textual inversion of three vectors": Situation("sd21", a_concept_of_three_vectors),
    "fp16 and non_ema weights beside the plain ones": Situation("sd15", another_variant_beside),
    "compiled, wrapped by PEFT, in parallel": Situation("sd15", wrapped, as_it_was=True),
    "other keys in the file": Situation("sd15", more_in_the_file),
    "clip skip made permanent": Situation("sd15", clip_skip),
    "a text encoder saved as a whole CLIPModel": Situation("sd15", a_whole_clip_model),
    "a tokenizer of 512 tokens": Situation("sd15", more_tokens_than_positions, as_it_was=True),
    "a tokenizer without a limit": Situation("sd15", tokens_without_end, as_it_was=True),
    "DPM-Solver as diffusers saves it": Situation("sd15", dpm_solver_as_diffusers_saves_it),
    "means of latents in Stable Diffusion": Situation("sd15", means_of_latents),
    "means of latents in SDXL": Situation("sdxl", means_of_latents, pipeline=XL),
    "weights of 8 bits": Situation("sd15", float8),
    "a UNet that projects the states of the text": Situation("sd15", projected_states),
}


@pytest.fixture
def prepared(
    tiny_pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[Path, Path, Drawing]]:
    """Return a function that makes a situation: the model, what diffusers loads, what is drawn."""
    for variable in ("EDGEGEN_CACHE_DIR", "EDGEGEN_STATE_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))

    def prepare(name: str) -> tuple[Path, Path, Drawing]:
        situation = SITUATIONS[name]
        original = tiny_pipeline(situation.family)
        changed = Path(shutil.copytree(original, tmp_path / "model"))
        situation.change(changed)
        drawing = Drawing(situation.pipeline, {"prompt": PROMPT, "num_inference_steps": 3}, {})
        return changed, original if situation.as_it_was else changed, drawing

    return prepare


READ_ELSEWHERE = ("a text encoder saved as a whole CLIPModel", "a tokenizer of 512 tokens")
"""What is left out of a CLIPModel: test_read, test_binding. A limit that is none is drawn here."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=pytest.mark.slow) if it in READ_ELSEWHERE else it for it in SITUATIONS],
)
def test_the_reference_makes_the_image_of_diffusers(
    name: str, prepared: Any, tmp_path: Path
) -> None:
    import torch

    from edgegen.models.model_folder import ModelFolder
    from edgegen.models.pipeline_source import FolderSource
    from edgegen.models.read import read_pipeline
    from edgegen.reference.pipeline import load_reference

    model, of_diffusers, drawing = prepared(name)
    spec = read_pipeline(ModelFolder(path=model, source=str(model)))
    reference = load_reference(spec, FolderSource(model))

    with torch.inference_mode(), reference.weights:
        generator = torch.Generator().manual_seed(17)
        image = reference.pipeline(generator=generator, **drawing.arguments).images[0]

    expected = _expected(of_diffusers, drawing, tmp_path)
    assert expected.std() > 1
    assert _psnr_db(expected, np.array(image)) >= LOWEST_PSNR_DB


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_package_makes_the_image_of_diffusers(name: str, prepared: Any, tmp_path: Path) -> None:
    model, of_diffusers, drawing = prepared(name)
    package = _package(model, tmp_path / "package")

    pixels = _drawn(package, drawing, tmp_path)

    assert _psnr_db(_expected(of_diffusers, drawing, tmp_path), pixels) >= LOWEST_PSNR_DB
