"""The process in which CLIP looks at pictures, so that torch and its memory are gone when it ends.

Its events are `pair` for each pair that was looked at.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import SourceError
from edgegen.core.worker import Emit, Event, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFiles:
    """Two PNG files."""

    reference: str
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Pairs to compare with a CLIP model: a folder, or a hub id that is in the hub's cache."""

    model: str
    pairs: tuple[PairFiles, ...]


def _run(job: Job, emit: Emit) -> Event:
    import torch
    from PIL import Image

    model, processor = _load(job.model)
    similarities = []
    with torch.inference_mode():
        for pair in job.pairs:
            images = [Image.open(path).convert("RGB") for path in (pair.reference, pair.package)]
            pixels = processor(images=images, return_tensors="pt")["pixel_values"]
            pooled = model.vision_model(pixel_values=pixels).pooler_output
            left, right = model.visual_projection(pooled)
            similarities.append(float(torch.cosine_similarity(left, right, dim=0)))
            emit("pair")
    return {"similarities": similarities}


def _load(name: str) -> tuple[Any, Any]:
    """Load a CLIP model, from safetensors only, and what prepares pictures for it."""
    from transformers import CLIPImageProcessor, CLIPModel

    try:
        model, loading = CLIPModel.from_pretrained(
            name, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:  # files that are missing, or no CLIP's
        raise SourceError(
            f"There is no CLIP model {name} here: {str(error).splitlines()[0]}",
            hint="Give a folder with config.json and model.safetensors, or a hub id that is in the "
            "hub's cache (hf download ORG/NAME). It isn't fetched by itself.",
        ) from error
    lacking = sorted({*loading["missing_keys"], *(it[0] for it in loading["mismatched_keys"])})
    if lacking:  # transformers fills them with random values
        raise SourceError(
            f"The CLIP model {name} lacks {len(lacking)} of its weights: {lacking[0]}, …",
            hint="Give a whole CLIP model: text, vision, and the projections of both.",
        )
    size = model.config.vision_config.image_size
    processor = CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    return model.eval(), processor


def expanded(name: str) -> str:
    """Return a model as the job names it: a folder by its absolute path, else a hub id."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() else name


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
