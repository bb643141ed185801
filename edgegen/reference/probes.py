"""Inputs for a probe of each component, and what torch computes from them.

Text is that of real prompts, and what the denoiser is conditioned on is what the text encoders make
of it: CLIP's states have outliers that normal numbers would not. The samples of a batch differ, so
that a runtime that mixes them up is noticed.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch

from edgegen.core.axes import axis_size
from edgegen.core.errors import SourceError
from edgegen.core.model import STEERING, Component, Generation, PipelineSpec, TensorSpec
from edgegen.families import family_of
from edgegen.networks import part_of
from edgegen.reference.case import PROBE_BATCH, denoiser
from edgegen.reference.pipeline import Reference

Tensors = dict[str, torch.Tensor]

PROMPTS = ("A fox in snow", "two cups of coffee on a wooden table, 35mm photo, f/1.8")
"""One that leaves much to padding, and one that a tokenizer of few tokens has to cut off."""

_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSize:
    """How large the axes are that have no number; `picture_batch` is the autoencoder's batch.

    `latent_deviation` is the standard deviation of the latents that the denoiser leaves.
    """

    latent_height: int
    latent_width: int
    picture_batch: int = PROBE_BATCH
    latent_deviation: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """What a network makes the inputs of its probe of; see `networks.base.Probing`."""

    reference: Reference
    spec: PipelineSpec
    component: Component
    size: ProbeSize
    generator: torch.Generator
    conditions: Tensors  # what the text encoders made, once for all inputs

    @property
    def pipeline(self) -> Any:
        """Return the diffusers pipeline."""
        return self.reference.pipeline

    @property
    def generation(self) -> Generation:
        """Return what the pipeline's denoising loop knows."""
        return self.spec.generation

    @property
    def latent_deviation(self) -> float:
        """Return the standard deviation of the latents that the denoiser leaves."""
        return self.size.latent_deviation

    @property
    def height(self) -> int:
        """Return the height of the image in pixels."""
        return self.size.latent_height * self.generation.vae_scale_factor

    @property
    def width(self) -> int:
        """Return the width of the image in pixels."""
        return self.size.latent_width * self.generation.vae_scale_factor

    def tokens(self, tensor: TensorSpec) -> Tensors:
        """Return what the component's tokenizer makes of the prompts."""
        slots = {it.name: it for it in family_of(self.spec.family).slots}
        name = slots[self.component.folder].tokenizer or ""
        length = tensor.shape[1] if isinstance(tensor.shape[1], int) else None
        encoded = getattr(self.pipeline, name)(
            _prompts(_batch(tensor)),
            padding="max_length",
            max_length=length or self.generation.text_length,
            truncation=True,
            return_tensors="pt",
        )
        return dict(encoded)

    def text(self, tensor: TensorSpec) -> Tensors:
        """Return what the pipeline itself makes of the prompts for its denoiser."""
        if not self.conditions:
            made = family_of(self.spec.family).reference.conditions
            self.conditions.update(made(self.pipeline, _prompts(_batch(tensor))))
        return self.conditions

    def whole(self) -> Tensors:
        """Return what the whole denoiser computes from the inputs of its own probe."""
        component = denoiser(self.spec)
        return compute(
            self.reference, component, make_inputs(self.reference, self.spec, component, self.size)
        )

    def steering(self) -> Tensors:
        """Return what the first network that steers the denoiser computes from its own probe."""
        component = next(it for it in self.spec.components if it.role in STEERING)
        return compute(
            self.reference, component, make_inputs(self.reference, self.spec, component, self.size)
        )


def make_inputs(
    reference: Reference, spec: PipelineSpec, component: Component, size: ProbeSize
) -> Tensors:
    """Return a component's inputs, by name; every axis that has a number keeps it."""
    is_picture = component.role in ("encoder", "decoder")
    sizes = _axes(spec, size, size.picture_batch if is_picture else PROBE_BATCH)
    probe = part_of(component).probe
    inputs: Tensors = {}
    conditions: Tensors = {}
    for index, tensor in enumerate(component.inputs):
        known = (axis_size(axis, sizes) for axis in tensor.shape)
        shape = tuple(axis if isinstance(axis, int) else -1 for axis in known)
        probing = Probing(
            reference=reference,
            spec=spec,
            component=component,
            size=size,
            generator=torch.Generator().manual_seed(_SEED + index),
            conditions=conditions,
        )
        inputs[tensor.name] = probe(probing, tensor, shape)
    return inputs


def compute(reference: Reference, component: Component, inputs: Tensors) -> Tensors:
    """Run a component on its inputs and return its outputs, by name.

    Raises SourceError where an output is not finite: no artifact could be compared with it.
    """
    computed = part_of(component).forward(reference.modules[component.folder], inputs)
    outputs = {tensor.name: computed[tensor.name] for tensor in component.outputs}
    for name, value in outputs.items():
        check_finite(value, f"{component.name} computes values for '{name}'")
    return outputs


def check_finite(value: torch.Tensor, what: str) -> None:
    """Raise SourceError that begins with `what` where torch itself made a NaN or an infinity."""
    if not bool(torch.isfinite(value).all()):
        raise SourceError(
            f"{what} that are not finite, in torch and in float32.",
            hint="The model itself is broken: compare its files with where they come from.",
        )


def _axes(spec: PipelineSpec, size: ProbeSize, batch: int) -> dict[str, int]:
    scale = spec.generation.vae_scale_factor
    sizes = {"batch": batch}
    sizes |= {"height": size.latent_height * scale, "width": size.latent_width * scale}
    if spec.generation.text_length is not None:
        sizes["sequence"] = spec.generation.text_length
    return sizes


def _batch(tensor: TensorSpec) -> int:
    return tensor.shape[0] if isinstance(tensor.shape[0], int) else PROBE_BATCH


def _prompts(count: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(PROMPTS), count))
