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

from edgegen.core.errors import SourceError
from edgegen.core.model import Component, PipelineSpec, TensorSpec
from edgegen.reference.case import PROBE_BATCH
from edgegen.reference.pipeline import Reference

Tensors = dict[str, torch.Tensor]

PROMPTS = ("A fox in snow", "two cups of coffee on a wooden table, 35mm photo, f/1.8")
"""One that leaves much to padding, and one that a tokenizer of few tokens has to cut off."""

TIMESTEP = 501.0
GUIDANCE = (7.5, 3.0)
AESTHETIC_SCORES = (6.0, 2.5)
_SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSize:
    """How large the axes are that have no number; `picture_batch` is the autoencoder's batch."""

    latent_height: int
    latent_width: int
    picture_batch: int = PROBE_BATCH


def make_inputs(
    reference: Reference, spec: PipelineSpec, component: Component, size: ProbeSize
) -> Tensors:
    """Return a component's inputs, by name; every axis that has a number keeps it."""
    is_picture = component.role in ("encoder", "decoder")
    sizes = _axes(spec, size, size.picture_batch if is_picture else PROBE_BATCH)
    inputs: Tensors = {}
    conditions: Tensors = {}
    for index, tensor in enumerate(component.inputs):
        shape = tuple(
            axis if isinstance(axis, int) else sizes.get(axis, -1) for axis in tensor.shape
        )
        generator = torch.Generator().manual_seed(_SEED + index)
        if tensor.name == "input_ids":
            value = _token_ids(reference, spec, component, tensor)
        elif tensor.name == "timestep":
            value = torch.tensor(TIMESTEP).to(getattr(torch, tensor.dtype)).expand(shape).clone()
        elif tensor.name in ("encoder_hidden_states", "text_embeds"):
            conditions = conditions or _text_conditions(reference, _batch(tensor))
            value = conditions[tensor.name]
        elif tensor.name == "time_ids":
            value = _time_ids(shape, spec, size)
        elif tensor.name == "timestep_cond":
            value = _guidance_embedding(reference, shape)
        elif component.role == "encoder":
            value = torch.rand(shape, generator=generator) * 2 - 1
        elif component.role == "decoder":
            noise = torch.randn(shape, generator=generator)
            value = noise / spec.generation.scaling_factor + spec.generation.shift_factor
            if spec.generation.latents_mean is not None:
                mean, std = (
                    torch.tensor(values).view(1, -1, 1, 1)
                    for values in (spec.generation.latents_mean, spec.generation.latents_std)
                )
                value = noise * std / spec.generation.scaling_factor + mean
        else:
            value = torch.randn(shape, generator=generator)
        inputs[tensor.name] = value
    return inputs


def compute(reference: Reference, component: Component, inputs: Tensors) -> Tensors:
    """Run a component on its inputs and return its outputs, by name.

    Raises SourceError where an output is not finite: no artifact could be compared with it.
    """
    computed = _forward(reference.modules[component.folder], component, inputs)
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


def _forward(module: Any, component: Component, inputs: Tensors) -> Tensors:
    if component.role == "text_encoder":
        output = module(inputs["input_ids"], output_hidden_states=True)
        states = {f"hidden_states.{i}": state for i, state in enumerate(output.hidden_states)}
        named = {name: value for name, value in output.items() if isinstance(value, torch.Tensor)}
        return {**named, **states}
    if component.role == "decoder":
        return {"sample": module.decode(inputs["latent_sample"]).sample}
    if component.role == "encoder":
        output = module.encode(inputs["sample"])
        if component.class_name == "AutoencoderTiny":
            return {"latent_sample": output.latents}
        return {"latent_parameters": output.latent_dist.parameters}
    if component.class_name == "UNet2DModel":
        return {"out_sample": module(inputs["sample"], inputs["timestep"]).sample}
    added = {name: inputs[name] for name in ("text_embeds", "time_ids") if name in inputs}
    output = module(
        inputs["sample"],
        inputs["timestep"],
        inputs["encoder_hidden_states"],
        timestep_cond=inputs.get("timestep_cond"),
        added_cond_kwargs=added or None,
    )
    return {"out_sample": output.sample}


def _axes(spec: PipelineSpec, size: ProbeSize, batch: int) -> dict[str, int]:
    scale = spec.generation.vae_scale_factor
    sizes = {"batch": batch}
    for name, latents in (("height", size.latent_height), ("width", size.latent_width)):
        sizes[name] = latents * scale
        sizes[f"{name} / {scale}"] = latents
    if spec.generation.text_length is not None:
        sizes["sequence"] = spec.generation.text_length
    return sizes


def _batch(tensor: TensorSpec) -> int:
    return tensor.shape[0] if isinstance(tensor.shape[0], int) else PROBE_BATCH


def _prompts(count: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(PROMPTS), count))


def _token_ids(
    reference: Reference, spec: PipelineSpec, component: Component, tensor: TensorSpec
) -> torch.Tensor:
    tokenizer = getattr(reference.pipeline, component.folder.replace("text_encoder", "tokenizer"))
    length = tensor.shape[1] if isinstance(tensor.shape[1], int) else spec.generation.text_length
    encoded = tokenizer(
        _prompts(_batch(tensor)),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    ids: torch.Tensor = encoded.input_ids
    return ids


def _text_conditions(reference: Reference, batch: int) -> Tensors:
    """Return what the pipeline itself makes of the prompts for its denoiser."""
    encoded = reference.pipeline.encode_prompt(
        _prompts(batch),
        device=torch.device("cpu"),
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
    )
    conditions = {"encoder_hidden_states": encoded[0]}
    if len(encoded) == 4:  # SDXL: states, negative states, pooled, negative pooled
        conditions["text_embeds"] = encoded[2]
    return conditions


def _time_ids(shape: tuple[int, ...], spec: PipelineSpec, size: ProbeSize) -> torch.Tensor:
    """Return sizes and crops as SDXL takes them, another crop and score for each sample."""
    scale = spec.generation.vae_scale_factor
    height, width = size.latent_height * scale, size.latent_width * scale
    batch, count = shape
    rows = []
    for index in range(batch):
        last = (height, width) if count == 6 else (AESTHETIC_SCORES[index % 2],)
        rows.append([float(value) for value in (height, width, 16 * index, 0, *last)])
    return torch.tensor(rows)


def _guidance_embedding(reference: Reference, shape: tuple[int, ...]) -> torch.Tensor:
    batch, dimension = shape
    scales = torch.tensor(list(itertools.islice(itertools.cycle(GUIDANCE), batch))) - 1
    embedding: torch.Tensor = reference.pipeline.get_guidance_scale_embedding(
        scales, embedding_dim=dimension
    )
    return embedding
