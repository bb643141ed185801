"""Scores a model while it is trained: the learning curve, and a picture of what it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from edgegen.drawer import DrawRequest
from edgegen.reference.drawer import TorchDrawer
from edgegen.scenes.combinations import Split
from edgegen.scenes.scores import judge_all, sampled_requests, score
from training.tables import append_row

_OF_EACH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """How a stage's model is drawn: its name, its steps, and the guidance."""

    name: str
    steps: int
    guidance: float


class Watch:
    """Draws a fixed choice of scenes with the averaged weights after each checkpoint."""

    def __init__(
        self, pipeline: Callable[[Any], StableDiffusionPipeline], folder: Path, drawing: Drawing
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._drawing = drawing
        self._requests = [
            *sampled_requests(Split.TRAINED, _OF_EACH),
            *sampled_requests(Split.HELD_OUT, _OF_EACH),
        ]

    def __call__(self, step: int, module: nn.Module) -> None:
        """Add rows to `<stage>.scores.csv`, and write `<stage>.drawn.png`."""
        drawing = self._drawing
        drawer = TorchDrawer(self._pipeline(module), "stable-diffusion")
        settings = DrawRequest(steps=drawing.steps, guidance=drawing.guidance)
        judged = list(judge_all(self._requests, drawer, settings, batch=32))
        header = ("step", "split", "group", "pictures", "things", "all_right")
        for (split, group), found in score((request, it) for request, _, it in judged).items():
            row = (step, split, group, found.pictures, found.things, found.all_right)
            append_row(self._folder / f"{drawing.name}.scores.csv", header, row)
            print(f"{drawing.name} {step}: {split} {group} {found.all_right:.2f}", flush=True)
        write_grid(
            [pixels for _, pixels, _ in judged],
            self._folder / f"{drawing.name}.drawn.png",
            _OF_EACH,
        )


def write_grid(pictures: list[NDArray[np.uint8]], path: Path, columns: int) -> None:
    """Write pictures of (64, 64, 3) as rows of one PNG, the last row filled with white."""
    missing = -len(pictures) % columns
    padded = [*pictures, *[np.full_like(pictures[0], 255)] * missing]
    rows = [np.concatenate(padded[at : at + columns], 1) for at in range(0, len(padded), columns)]
    Image.fromarray(np.concatenate(rows)).save(path)
