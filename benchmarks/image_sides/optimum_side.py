"""optimum's ORTDiffusionPipeline."""

from __future__ import annotations

from typing import Any

from turns import read_job, serve

job = read_job()

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from optimum.onnxruntime import ORTDiffusionPipeline  # noqa: E402

pipeline: Any = None


def load() -> None:
    global pipeline
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    pipeline = ORTDiffusionPipeline.from_pretrained(job["model"], session_options=options)
    pipeline.set_progress_bar_config(disable=True)


def draw() -> Any:
    made = pipeline(
        prompt=job["prompt"],
        latents=torch.from_numpy(np.load(job["latents"])),
        num_inference_steps=job["steps"],
        guidance_scale=job["guidance"],
        height=job["pixels"],
        width=job["pixels"],
        generator=torch.Generator("cpu").manual_seed(0),
    )
    return np.asarray(made.images[0].convert("RGB"))


serve(job, f"optimum, onnxruntime {onnxruntime.__version__}", load, draw)
