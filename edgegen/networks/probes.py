"""Inputs of probes that several networks take; torch is imported inside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from edgegen.core.model import TensorSpec
from edgegen.networks.base import Probing

TIMESTEP = 501.0
LOG_LEVEL = 0.25
GUIDANCE = (7.5, 3.0)


def noise(probing: Probing, _tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return normal numbers."""
    import torch

    return torch.randn(shape, generator=probing.generator)


def timestep(_probing: Probing, tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return a timestep from the middle of the range, in the input's type."""
    return _one(TIMESTEP, tensor, shape)


def condition_timestep(probing: Probing, tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return the same, or the logarithm of a noise level for a network of Fourier features.

    Features of 501 turn by thousands of radians, which no two libraries round alike; these networks
    are told log(sigma) / 4, −0.9 to 0.7.
    """
    config = getattr(getattr(probing.pipeline, "unet", None), "config", None)
    of_levels = getattr(config, "time_embedding_type", None) == "fourier"
    return _one(LOG_LEVEL if of_levels else TIMESTEP, tensor, shape)


def _one(value: float, tensor: TensorSpec, shape: Sequence[int]) -> Any:
    import torch

    return torch.tensor(value).to(getattr(torch, tensor.dtype)).expand(shape).clone()


def tokens(probing: Probing, tensor: TensorSpec, _shape: Sequence[int]) -> Any:
    """Return what the tokenizer makes of prompts, under the input's name."""
    return probing.tokens(tensor)[tensor.name]


def text(probing: Probing, tensor: TensorSpec, _shape: Sequence[int]) -> Any:
    """Return what the text encoders make of prompts, under the input's name.

    CLIP's states have outliers that normal numbers would not.
    """
    return probing.text(tensor)[tensor.name]


def guidance_embedding(probing: Probing, tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return the embedding of a guidance scale, another for each sample.

    Where the pipeline tells its denoiser something else in its place, that is returned.
    """
    import torch

    told = probing.text(tensor)
    if tensor.name in told:
        return told[tensor.name]
    batch, dimension = shape
    scales = torch.tensor(list(itertools.islice(itertools.cycle(GUIDANCE), batch))) - 1
    return probing.pipeline.get_guidance_scale_embedding(scales, embedding_dim=dimension)


def features(probing: Probing, tensor: TensorSpec, _shape: Sequence[int]) -> Any:
    """Return what the whole denoiser gives under the input's name."""
    return probing.whole()[tensor.name]


def labels(_probing: Probing, _tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return class labels, another for each sample and its neighbours."""
    import torch

    return torch.arange(shape[0], dtype=torch.int64) % 2


def picture(probing: Probing, _tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return a picture of uniform numbers in −1…1."""
    import torch

    return torch.rand(shape, generator=probing.generator) * 2 - 1


def levels(probing: Probing, _tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return a picture of uniform numbers in 0…1."""
    import torch

    return torch.rand(shape, generator=probing.generator)


def steering(probing: Probing, tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return what a network that steers the denoiser gives under the input's name."""
    return probing.steering()[tensor.name].expand(shape).clone()


def latents(probing: Probing, _tensor: TensorSpec, shape: Sequence[int]) -> Any:
    """Return latents as wide as the denoiser leaves them, in the autoencoder's own scale."""
    import torch

    noise = torch.randn(shape, generator=probing.generator) * probing.latent_deviation
    generation = probing.generation
    mean, std = generation.latents_mean, generation.latents_std
    if mean is None or std is None:
        return noise / generation.scaling_factor + generation.shift_factor
    means, deviations = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return noise * deviations / generation.scaling_factor + means
