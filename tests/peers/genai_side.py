"""Draws one image with openvino_genai; runs in its environment.

    python genai_side.py PACKAGE LATENTS.npy OUT.npy PROMPT STEPS GUIDANCE PIXELS_A_LATENT

The latents are handed over: openvino_genai draws its own random numbers otherwise. Arithmetic is in
float32: some processors would round to bfloat16.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import openvino
import openvino_genai


class Latents(openvino_genai.Generator):
    """A generator that gives the first latents; what asks for more numbers gets an error."""

    def __init__(self, values: np.ndarray) -> None:
        openvino_genai.Generator.__init__(self)
        self.values = values
        self.given = False

    def randn_tensor(self, shape: Any) -> openvino.Tensor:
        if self.given:
            raise RuntimeError("the scheduler draws noise at its steps")
        self.given = True
        return openvino.Tensor(self.values.reshape(tuple(shape)).copy())


def main(
    package: str, latents: str, out: str, prompt: str, steps: str, guidance: str, scale: str
) -> None:
    values = np.load(latents)
    pipeline = openvino_genai.Text2ImagePipeline(package, "CPU", INFERENCE_PRECISION_HINT="f32")
    height, width = (int(scale) * size for size in values.shape[2:])
    image = pipeline.generate(
        prompt,
        width=width,
        height=height,
        num_inference_steps=int(steps),
        guidance_scale=float(guidance),
        generator=Latents(values),
    )
    np.save(out, np.array(image.data)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
