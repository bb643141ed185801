"""openvino_genai: `options` has the type that it is to compute in, or none for its own choice."""

from __future__ import annotations

from typing import Any

from turns import read_job, serve, step_ended

job = read_job()

import numpy as np  # noqa: E402
import openvino  # noqa: E402
import openvino_genai  # noqa: E402

pipeline: Any = None


class Numbers(openvino_genai.Generator):
    """The first numbers that are asked for are given; those of later steps are drawn."""

    def __init__(self) -> None:
        openvino_genai.Generator.__init__(self)
        self.first = np.load(job["latents"])
        self.later = np.random.default_rng(0)

    def randn_tensor(self, shape: Any) -> openvino.Tensor:
        first, self.first = self.first, None
        values = self.later.standard_normal(tuple(shape), np.float32) if first is None else first
        return openvino.Tensor(values.reshape(tuple(shape)).copy())


def load() -> None:
    global pipeline
    settings = {"INFERENCE_NUM_THREADS": job["threads"], "PERFORMANCE_HINT": "LATENCY"}
    if job["options"].get("precision"):
        settings["INFERENCE_PRECISION_HINT"] = job["options"]["precision"]
    pipeline = openvino_genai.Text2ImagePipeline(job["model"], "CPU", **settings)


def _step(*_: object) -> bool:
    step_ended()
    return False  # don't stop


def draw() -> Any:
    made = pipeline.generate(
        job["prompt"],
        width=job["pixels"],
        height=job["pixels"],
        num_inference_steps=job["steps"],
        guidance_scale=job["guidance"],
        generator=Numbers(),
        callback=_step,
    )
    return np.array(made.data)[0]


serve(job, f"openvino_genai {openvino_genai.__version__}", load, draw)
