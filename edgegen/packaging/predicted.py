"""Predicts how large a package will be, from configs and the headers of weights alone.

Weights are counted one by one, as each target stores them. What a graph takes beside its weights
grows with its layers, and was measured: `[sizes]` in a target's target.toml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.compress.blocks import BLOCK
from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.axes import axis_size
from edgegen.core.codec import load_json_object
from edgegen.core.model import Component, PipelineSpec, Role, TensorSpec, main_role
from edgegen.core.recipe import ComponentRecipe, Recipe
from edgegen.core.target import StoredSizes
from edgegen.reference.case import PROBE_BATCH, small_case, small_latents
from edgegen.tokenizers import tokenizers_in
from edgegen.tokenizers.clip import CLIP, MERGES_NAME, VOCABULARY_NAME

_HEADER_BYTES = 128
"""What an array of the golden case has before its numbers."""
_MANIFEST_BYTES, _LISTED_BYTES = 4_500, 1_400
"""What the manifest and the evidence take, and of that a component."""
_TOKENIZER_GRAPH_BYTES = 31_600


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWeight:
    """A weight of a component: the layer that has it, and its shape."""

    layer: str
    shape: tuple[int, ...]


def component_bytes(
    sizes: StoredSizes,
    recipe: Recipe,
    component: Component,
    weights: Sequence[StoredWeight],
    *,
    text_length: int | None,
) -> int:
    """Return about how large a component's files will be, from the weights that it has."""
    mask = text_length if component.role == "text_encoder" and text_length else 0
    total = 4 * mask**2 + _graph_bytes(sizes, component.role, weights)
    types = recipe.of(component)
    for weight in weights:
        total += weight_bytes(sizes, types, weight.layer, weight.shape)
    return total + _quantized_bytes(sizes, types, weights)


def _quantized_bytes(
    sizes: StoredSizes, recipe: ComponentRecipe, weights: Sequence[StoredWeight]
) -> int:
    """Return what quantized activations add: conversions, and biases in whole numbers."""
    large = {
        weight.layer: len(weight.shape)
        for weight in weights
        if len(weight.shape) > 1 and math.prod(weight.shape) > sizes.small
    }
    total = 0
    for weight in weights:
        axes = large.get(weight.layer, 0)
        kind = recipe.activations_of(weight.layer) if axes else "float"
        is_bias = len(weight.shape) == 1
        if kind == "dynamic-int8" and axes == 2 and not is_bias:
            total += sizes.dynamic_bytes
        if kind not in ("int8", "int16"):
            continue
        if not is_bias:
            total += sizes.calibrated_bytes
            total += sizes.calibrated_convolution_bytes if axes > 2 else 0
        elif sizes.calibrated_biases == "all" or (
            sizes.calibrated_biases == "convolutions" and axes > 2
        ):
            wide = sizes.wide_bias_bytes if kind == "int16" else 0
            total += (sizes.scale_bytes + wide) * weight.shape[0]
    return total


def _graph_bytes(sizes: StoredSizes, role: Role, weights: Sequence[StoredWeight]) -> int:
    layers = {weight.layer for weight in weights}
    with_matrix = {weight.layer for weight in weights if len(weight.shape) > 1}
    norms = len(layers) - len(with_matrix)
    return sizes.layer_bytes[main_role(role)] * len(with_matrix) + sizes.norm_bytes * norms


def weight_bytes(
    sizes: StoredSizes, recipe: ComponentRecipe, layer: str, shape: tuple[int, ...]
) -> int:
    """Return what a weight of a layer takes in a component's file."""
    elements = math.prod(shape)
    if len(shape) < 2 or elements <= sizes.small:
        halved = recipe.compute_of(layer) == "float16" and not sizes.small_in_float32
        return elements * (2 if halved else 4)
    storage = sizes.held_as(recipe.storage_of(layer), shape, recipe.block or BLOCK)
    widened = 0 if storage == recipe.compute_of(layer) else sizes.widened_bytes.get(storage, 0)
    granularity = Granularity(palette_channels=recipe.palette_channels, block=recipe.block)
    stored = CODECS[storage].stored_bytes(
        shape, granularity, scale_bytes=sizes.scale_bytes_of(storage)
    )
    return stored + widened


def largest_weight(
    recipe: Recipe, component: Component, weights: Sequence[StoredWeight]
) -> tuple[str, int]:
    """Return the layer of a component's largest weight, and its bytes in the type it computes in.

    Activations may be larger: `edgegen inspect --profile` traces them.
    """
    types = recipe.of(component)

    def computed_bytes(weight: StoredWeight) -> int:
        return math.prod(weight.shape) * (2 if types.compute_of(weight.layer) == "float16" else 4)

    largest = max(weights, key=computed_bytes)
    return largest.layer, computed_bytes(largest)


def golden_bytes(spec: PipelineSpec, least_latents: tuple[int, int]) -> int:
    """Return how large the golden case will be. `spec` has the components of the package."""
    case = small_case(spec, least_latents)
    rows, columns = small_latents(spec, least_latents)
    scale = spec.generation.vae_scale_factor
    sizes = {
        "batch": PROBE_BATCH,
        "sequence": spec.generation.text_length or 0,
        "height": rows * scale,
        "width": columns * scale,
    }
    probes = sum(
        _HEADER_BYTES + _elements(tensor, sizes) * (8 if tensor.dtype == "int64" else 4)
        for component in spec.components
        for tensor in (*component.inputs, *component.outputs)
    )
    latents = spec.generation.latent_channels * (case.width // scale) * (case.height // scale)
    channels = 3 if scale > 1 else spec.generation.latent_channels
    picture = channels * case.width * case.height
    return probes + 4 * (latents * (case.steps + 1) + picture) + _HEADER_BYTES * (case.steps + 2)


def _elements(tensor: TensorSpec, sizes: Mapping[str, int]) -> int:
    return math.prod(int(axis_size(axis, sizes)) for axis in tensor.shape)


def openvino_tokenizer_bytes(folder: Path) -> int:
    """Return how large a tokenizer's graph will be: words, merges, and where each begins."""
    if CLIP.added_tokens(folder):
        return 0  # it gets no graph
    vocabulary, merges = (folder / it for it in (VOCABULARY_NAME, MERGES_NAME))
    if not (vocabulary.is_file() and merges.is_file()):
        return _TOKENIZER_GRAPH_BYTES + 2 * CLIP.missing_bytes(folder)
    words = load_json_object(vocabulary)
    pairs = len(merges.read_text(encoding="utf-8").splitlines())
    of_words = sum(len(word.encode()) + 8 for word in words)
    of_merges = merges.stat().st_size + (16 - len("\n ")) * pairs
    return _TOKENIZER_GRAPH_BYTES + of_words + of_merges


def tokenizer_graph_bytes(model: Path) -> int:
    """Return how large the graphs of a model's tokenizers will be."""
    return sum(
        openvino_tokenizer_bytes(folder) for folder, it in tokenizers_in(model) if it is CLIP
    )


def small_bytes(copied: int, tokenizer_graphs: int, *, components: int) -> int:
    """Return how large the files are that are copied, and those that describe the package."""
    return copied + tokenizer_graphs + _MANIFEST_BYTES + components * _LISTED_BYTES
