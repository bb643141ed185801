"""Trains the built-in models: `python -m training [--work FOLDER] [--minutes N] [--device cuda]`.

Stops at the end, after so many minutes, or when it is interrupted, and goes on from there when
started again. The models lie in `FOLDER/models` at the end. Exits with 3 where it was stopped, and
with 2 where `FOLDER` has what other settings or data made.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    LCMScheduler,
    SchedulerMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn

from training.autoencoder import encode_all, train_autoencoder, train_decoder
from training.dataset import TrainingScenes, tokenize
from training.denoiser import Denoiser, train_denoiser
from training.distiller import distill
from training.loop import OtherBasisError, OutOfTimeError, stop_when_interrupted
from training.settings import CONSISTENCY_STEPS, GUIDANCE, SCHEDULER_CONFIG
from training.tiny_autoencoder import train_tiny_autoencoder
from training.tokens import make_tokenizer
from training.watch import Drawing, Watch

_BASE = Drawing(name="denoiser", steps=12, guidance=GUIDANCE)
_FEW = Drawing(name="distiller", steps=4, guidance=1.0)
_REFUSED, _STOPPED = 2, 3
"""What a run that did not come to its end exits with."""


def main() -> int:
    """Run the stages that are left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("out/train-builtin"))
    parser.add_argument("--minutes", type=float, help="stop after so many")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60 if options.minutes is not None else None
    options.work.mkdir(parents=True, exist_ok=True)
    stop_when_interrupted()
    try:
        _train(options.work, torch.device(options.device), deadline)
    except OutOfTimeError as stopped:
        print(f"{stopped} Run the same command again to go on.")
        return _STOPPED
    except OtherBasisError as error:
        print(error, file=sys.stderr)
        return _REFUSED
    return 0


def _train(work: Path, device: torch.device, deadline: float | None) -> None:
    training_scenes = TrainingScenes()
    texts = [caption for scene in training_scenes.scenes for caption in scene.captions]
    tokenizer = make_tokenizer(texts, work / "tokenizer")
    captions = tokenize(training_scenes.scenes, tokenizer)
    autoencoder = train_autoencoder(training_scenes, work, device, deadline)
    latents = encode_all(autoencoder, training_scenes, work / "latents.npy", device, deadline)

    def pipeline(
        vae: nn.Module, text_encoder: nn.Module, unet: nn.Module, scheduler: SchedulerMixin
    ) -> StableDiffusionPipeline:
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    many_steps = DDIMScheduler(**SCHEDULER_CONFIG)
    few_steps = LCMScheduler(**SCHEDULER_CONFIG, original_inference_steps=CONSISTENCY_STEPS)

    def base(denoiser: Denoiser) -> StableDiffusionPipeline:
        return pipeline(autoencoder, denoiser.text_encoder, denoiser.unet, many_steps)

    def few(unet: UNet2DConditionModel) -> StableDiffusionPipeline:
        return pipeline(autoencoder, denoiser.text_encoder, unet, few_steps)

    data = (training_scenes, latents, captions)
    stop = (work, device, deadline)
    denoiser = train_denoiser(*data, tokenizer, *stop, Watch(base, work, _BASE))
    train_decoder(autoencoder, training_scenes, *stop)
    _save(base(denoiser), work / "models" / "scenes")
    student = distill(denoiser, *data, *stop, Watch(few, work, _FEW))
    _save(few(student), work / "models" / "scenes-4step")
    tiny: AutoencoderTiny = train_tiny_autoencoder(training_scenes, latents, *stop)
    smallest = pipeline(tiny, denoiser.text_encoder, student, few_steps)
    _save(smallest, work / "models" / "scenes-4step-tiny")


def _save(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write a pipeline in float16 beside its place, and rename it."""
    beside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline.tokenizer.backend_tokenizer.no_padding()  # how it was last used is no part of it
    pipeline.tokenizer.backend_tokenizer.no_truncation()
    pipeline.save_pretrained(beside)
    for path in (folder.parents[1] / "tokenizer").iterdir():  # transformers writes neither
        shutil.copy(path, beside / "tokenizer")
    for name in ("vae", "text_encoder", "unet"):
        component = getattr(pipeline, name)
        type(component).from_pretrained(beside / name, dtype=torch.float16).save_pretrained(
            beside / name
        )
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.rglob('*')) / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
