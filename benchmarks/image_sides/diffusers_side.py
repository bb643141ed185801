"""diffusers with torch: `options` are `dtype` and `compiled`."""

from __future__ import annotations

from typing import Any

from turns import by_diffusers, read_job, serve

job = read_job()

import diffusers  # noqa: E402
import torch  # noqa: E402

pipeline: Any = None


def load() -> None:
    global pipeline
    torch.set_num_threads(job["threads"])
    pipeline = diffusers.DiffusionPipeline.from_pretrained(
        job["model"],
        torch_dtype=getattr(torch, job["options"]["dtype"]),
        safety_checker=None,
        local_files_only=True,
    )
    pipeline.set_progress_bar_config(disable=True)
    if job["options"].get("compiled"):
        pipeline.unet = torch.compile(pipeline.unet)
        pipeline.vae.decode = torch.compile(pipeline.vae.decode)


def draw() -> Any:
    return by_diffusers(job, pipeline, job["options"]["dtype"])


serve(job, f"diffusers {diffusers.__version__}, torch {torch.__version__}", load, draw)
