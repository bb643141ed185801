"""Gives every component named tensor inputs and a tuple of outputs.

Each wrapper takes the inputs in the order of `Component.inputs` and returns the outputs in the
order of `Component.outputs`; the network is its attribute `network`.
"""

from __future__ import annotations

import torch

from edgegen.core.errors import ExportError
from edgegen.core.model import Component


class TextEncoder(torch.nn.Module):
    """CLIP's text encoder: ids (batch, sequence) to states (batch, sequence, width)."""

    def __init__(self, network: torch.nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.outputs = outputs

    def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what is wanted of the last state, the pooled vector and the layers' states."""
        result = self.network(input_ids, output_hidden_states=True)
        states = {f"hidden_states.{n}": state for n, state in enumerate(result.hidden_states)}
        return tuple(
            states[name] if name in states else getattr(result, name) for name in self.outputs
        )


class ConditionalDenoiser(torch.nn.Module):
    """`UNet2DConditionModel`, with its optional conditions as inputs of their own."""

    def __init__(self, network: torch.nn.Module, conditions: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.conditions = conditions

    def forward(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *conditions: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        """Return the prediction, shaped as `sample` but for its channels."""
        named = dict(zip(self.conditions, conditions, strict=True))
        timestep_cond = named.pop("timestep_cond", None)
        prediction = self.network(
            sample,
            timestep,
            encoder_hidden_states,
            timestep_cond=timestep_cond,
            added_cond_kwargs=named or None,
            return_dict=False,
        )[0]
        return (prediction,)


class UnconditionalDenoiser(torch.nn.Module):
    """`UNet2DModel`: a sample and a timestep."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> tuple[torch.Tensor]:
        """Return the prediction, shaped as `sample`."""
        return (self.network(sample, timestep, return_dict=False)[0],)


class Decoder(torch.nn.Module):
    """An autoencoder's way from latents to pictures in −1…1."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent_sample: torch.Tensor) -> tuple[torch.Tensor]:
        """Return (batch, 3, height, width) in −1…1."""
        return (self.network.decode(latent_sample, return_dict=False)[0],)


class Encoder(torch.nn.Module):
    """`AutoencoderKL`'s way from pictures to the moments of their latents."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        """Return (batch, 2 × channels, height / 8, width / 8): means, then log variances."""
        return (self.network._encode(sample),)


class TinyEncoder(torch.nn.Module):
    """`AutoencoderTiny`'s way from pictures to latents."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        """Return (batch, channels, height / 8, width / 8)."""
        return (self.network.encode(sample, return_dict=False)[0],)


def wrap(network: torch.nn.Module, component: Component) -> torch.nn.Module:
    """Return the wrapper that a component's inputs and outputs call for."""
    names = tuple(tensor.name for tensor in component.inputs)
    match component.role, component.class_name:
        case "text_encoder", _:
            return TextEncoder(network, tuple(tensor.name for tensor in component.outputs))
        case "denoiser", "UNet2DConditionModel":
            return ConditionalDenoiser(network, names[3:])
        case "denoiser", "UNet2DModel":
            return UnconditionalDenoiser(network)
        case "decoder", _:
            return Decoder(network)
        case "encoder", "AutoencoderKL":
            return Encoder(network)
        case "encoder", "AutoencoderTiny":
            return TinyEncoder(network)
    raise ExportError(
        f"A {component.class_name} as {component.role} is unknown.",
        hint="Please report the model.",
    )
