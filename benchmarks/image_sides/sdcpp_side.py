"""stable-diffusion.cpp by its Python binding: `options` has the type of the weights.

It draws its own random numbers, so its image is another one.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from turns import read_job, serve, step_ended

job = read_job()

import numpy as np  # noqa: E402
from stable_diffusion_cpp import StableDiffusion  # noqa: E402

pipeline: Any = None


def load() -> None:
    global pipeline
    pipeline = StableDiffusion(
        model_path=job["model"],
        wtype=job["options"]["wtype"],
        n_threads=job["threads"],
        diffusion_flash_attn=True,
        verbose=False,
    )


def draw() -> Any:
    made = pipeline.generate_image(
        prompt=job["prompt"],
        sample_steps=job["steps"],
        cfg_scale=job["guidance"],
        width=job["pixels"],
        height=job["pixels"],
        sample_method="euler",
        seed=0,
        progress_callback=step_ended,
    )
    return np.asarray(made[0].convert("RGB"))


serve(job, f"stable-diffusion-cpp-python {version('stable-diffusion-cpp-python')}", load, draw)
