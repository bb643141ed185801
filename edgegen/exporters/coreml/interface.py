"""What Apple's Swift package of ml-stable-diffusion calls a component's inputs and outputs.

Source: apple/ml-stable-diffusion, `swift/StableDiffusion/pipeline/` (`TextEncoder.swift`,
`Unet.swift`, `Decoder.swift`, `Encoder.swift`), `python_coreml_stable_diffusion/torch2coreml.py`.
Everything is float32 there, token ids too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.model import Component, Role
from edgegen.exporters.coreml.graph import Layout

COMPILED_NAMES: Mapping[str, str] = {
    "text_encoder": "TextEncoder",
    "text_encoder_2": "TextEncoder2",
    "unet": "Unet",
    "vae_decoder": "VAEDecoder",
    "vae_encoder": "VAEEncoder",
}
"""A component -> the compiled model that the Swift package looks for in its Resources."""

_NAMES: Mapping[Role, Mapping[str, str]] = {
    "text_encoder": {
        "input_ids": "input_ids",
        "last_hidden_state": "last_hidden_state",
        "pooler_output": "pooled_outputs",
        "text_embeds": "pooled_outputs",
    },
    "denoiser": {
        "sample": "sample",
        "timestep": "timestep",
        "encoder_hidden_states": "encoder_hidden_states",
        "text_embeds": "text_embeds",
        "time_ids": "time_ids",
        "timestep_cond": "timestep_cond",
        "out_sample": "noise_pred",
    },
    "decoder": {"latent_sample": "z", "sample": "image"},
    "encoder": {"sample": "z", "latent_parameters": "latent", "latent_sample": "latent"},
}
_HIDDEN_STATES = "hidden_states."
_HIDDEN_EMBEDS = "hidden_embeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTensor:
    """An input or output as Apple's package knows it."""

    name: str
    layout: Layout = "plain"


def natives_of(component: Component) -> dict[str, NativeTensor]:
    """Return what each of a component's tensors is called in its model package."""
    return {
        tensor.name: NativeTensor(
            name=_native_name(component.role, tensor.name),
            layout="channels-first" if tensor.name == "encoder_hidden_states" else "plain",
        )
        for tensor in (*component.inputs, *component.outputs)
    }


def _native_name(role: Role, name: str) -> str:
    if role == "text_encoder" and name.startswith(_HIDDEN_STATES):
        return _HIDDEN_EMBEDS
    return _NAMES[role][name]
