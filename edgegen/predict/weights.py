"""The weights of a component as a runtime holds them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgegen.compress.blocks import BLOCK
from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.recipe import ComponentRecipe
from edgegen.core.target import StoredSizes
from edgegen.core.trace import ComponentTrace
from edgegen.packaging.predicted import StoredWeight
from edgegen.predict.runtime_memory import Form, Kind, RuntimeMemory

_FORMS: dict[str, Form] = {
    "float32": "float32",
    "float16": "float16",
    "int8": "int8",
    "int4": "int4",
    "int4-channel": "int4",
    "uint4": "int4",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldWeight:
    """A weight in memory: its layer, what it takes when loaded, and what besides while loading.

    `buffer_bytes` is its largest single copy.
    """

    layer: str
    held_bytes: float
    loading_bytes: float
    buffer_bytes: int


def held_weights(
    weights: Sequence[StoredWeight],
    trace: ComponentTrace,
    recipe: ComponentRecipe,
    sizes: StoredSizes,
    runtime: RuntimeMemory,
) -> Iterator[HeldWeight]:
    """Yield each weight as a runtime holds it."""
    tables = {shape for it in trace.operators if it.kind == "embedding" for shape in it.weights}
    granularity = Granularity(palette_channels=recipe.palette_channels, block=recipe.block)
    for weight in weights:
        elements = math.prod(weight.shape)
        if len(weight.shape) < 2 or elements <= sizes.small:
            yield HeldWeight(
                layer=weight.layer,
                held_bytes=4 * elements,
                loading_bytes=0,
                buffer_bytes=4 * elements,
            )
            continue
        storage = sizes.held_as(
            recipe.storage_of(weight.layer), weight.shape, recipe.block or BLOCK
        )
        kind: Kind = "linear" if len(weight.shape) == 2 else "convolution"
        if weight.shape in tables:
            kind = "embedding"
        held = runtime.held(kind, _form(recipe, weight.layer, storage, kind, runtime))
        stored = CODECS[storage].stored_bytes(
            weight.shape, granularity, scale_bytes=sizes.scale_bytes_of(storage)
        )
        mapped = stored if held.mapped else 0
        copy = min(held.copied, 4.0) * elements
        if runtime.widens and kind != "embedding":
            copy = widened_bytes(recipe, weight.layer, weight.shape)
        yield HeldWeight(
            layer=weight.layer,
            held_bytes=held.copied * elements + mapped,
            loading_bytes=held.loading * elements,
            buffer_bytes=max(stored, round(copy)),
        )


def widened_bytes(recipe: ComponentRecipe, layer: str, shape: tuple[int, ...]) -> int:
    """Return what a weight takes in float32 where it is stored in fewer bits, else nothing."""
    return 0 if CODECS[recipe.storage_of(layer)].bits == 32 else 4 * math.prod(shape)


def _form(
    recipe: ComponentRecipe, layer: str, storage: str, kind: Kind, runtime: RuntimeMemory
) -> Form:
    activations = recipe.activations_of(layer)
    form = _FORMS.get(storage, "other")
    if activations == "dynamic-int8" and kind == "convolution" and not runtime.dynamic_convolutions:
        return form
    if form == "int8" and activations != "float":
        return "int16 arithmetic" if activations == "int16" else "int8 arithmetic"
    return form
