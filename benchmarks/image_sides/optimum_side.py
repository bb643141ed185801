"""optimum's ORTDiffusionPipeline."""

from __future__ import annotations

from typing import Any

from turns import by_diffusers, read_job, serve

job = read_job()

import onnxruntime  # noqa: E402
from optimum.onnxruntime import ORTDiffusionPipeline  # noqa: E402

pipeline: Any = None


def load() -> None:
    global pipeline
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    pipeline = ORTDiffusionPipeline.from_pretrained(job["model"], session_options=options)
    pipeline.set_progress_bar_config(disable=True)


def draw() -> Any:
    return by_diffusers(job, pipeline)


serve(job, f"optimum, onnxruntime {onnxruntime.__version__}", load, draw)
