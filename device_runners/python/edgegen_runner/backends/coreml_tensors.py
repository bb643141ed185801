"""Between the pipelines' tensors and those of a Core ML package, whose names are Apple's.

A package's programs take and give float32 alone, also token ids, and text as (batch, channels, 1,
sequence): so Apple's own Swift package can load them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..package import Component
from . import Array

NATIVE_NAMES: dict[str, str] = {
    "pooler_output": "pooled_outputs",
    "text_embeds": "pooled_outputs",
    "out_sample": "noise_pred",
    "latent_sample": "z",
    "latent_parameters": "latent",
}
"""A tensor's name -> its name in a package, where that is another and the same everywhere."""

_HIDDEN_STATES = "hidden_states."
_SEQUENCE = "encoder_hidden_states"


def native_name(component: str, tensor: str, *, is_output: bool) -> str:
    """Return what a component's tensor is called in its program."""
    if component.startswith("text_encoder"):
        if tensor.startswith(_HIDDEN_STATES):
            return "hidden_embeds"
        return NATIVE_NAMES.get(tensor, tensor)
    if component.startswith("vae_"):
        pixels = "image" if is_output else "z"
        latents = "latent" if is_output else "z"
        return pixels if tensor == "sample" else latents
    return tensor if tensor == "text_embeds" else NATIVE_NAMES.get(tensor, tensor)


def feeds(component: Component, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return what a program takes for a component's inputs."""
    result = {}
    for name, value in inputs.items():
        array = np.asarray(value, np.float32)
        if name == _SEQUENCE:
            array = array.transpose(0, 2, 1)[:, :, None, :]
        result[native_name(component.name, name, is_output=False)] = np.ascontiguousarray(array)
    return result


def results(
    component: Component, values: Mapping[str, Array], names: Sequence[str]
) -> dict[str, Array]:
    """Return a component's outputs from a program's."""
    return {
        name: np.asarray(values[native_name(component.name, name, is_output=True)])
        for name in names
    }
