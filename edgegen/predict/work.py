"""What an image takes in arithmetic: the operations of each phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen_runner.generation import computes_all, guided_calls
from edgegen_runner.pipelines.tiles import starts
from edgegen_runner.schedulers import calls_of

from edgegen.core.model import Component, Generation, Role, main_role
from edgegen.core.trace import ComponentTrace, Operator
from edgegen.packaging.candidate import Candidate

PHASES: Mapping[Role, str] = {
    "text_encoder": "text_encoder",
    "denoiser": "denoise",
    "shallow_denoiser": "denoise",
    "controlnet": "denoise",
    "t2i_adapter": "denoise",
    "decoder": "vae_decoder",
}
"""What the runner calls the phases of an image that begins in noise, by the role that works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The floating-point operations of one image's phases, and of how many denoiser calls they are.

    `operations` are by the runner's names of the phases; a phase that an image lacks is not there.
    """

    operations: Mapping[str, int]
    calls: int

    @property
    def total(self) -> int:
        """Return the floating-point operations of an image."""
        return sum(self.operations.values())


def work_of(
    candidate: Candidate,
    traces: Mapping[str, ComponentTrace],
    *,
    steps: int | None = None,
    guidance: float | None = None,
    scheduler: str | None = None,
) -> Work:
    """Return what an image of a candidate's package takes, by default with its own settings.

    `traces` are those of `edgegen.predict.traces.read_traces` with the same guidance.
    """
    generation = candidate.spec.generation
    scale = generation.guidance if guidance is None else guidance
    guided = candidate.spec.facts.is_guided(scale)
    name = scheduler or candidate.spec.scheduler.class_name
    denoised = calls_of(name, steps or generation.steps)
    operations: dict[str, int] = {}
    for component in candidate.components:
        phase = PHASES.get(component.role)
        if phase is not None:
            predictions = candidate.spec.facts.predictions if guided else 1
            calls = _calls(component, generation, predictions=predictions, denoised=denoised)
            one = operations_of(traces[component.name])
            operations[phase] = operations.get(phase, 0) + round(calls * one)
    return Work(operations=operations, calls=denoised)


def _calls(
    component: Component, generation: Generation, *, predictions: int, denoised: int
) -> float:
    guided = predictions > 1
    if component.role == "text_encoder":
        return 2 if guided else 1
    if component.role == "decoder" and generation.decode_tile is not None:
        return _tiles(generation, generation.decode_tile)
    if main_role(component.role) != "denoiser":
        return 1
    part = guided_calls(generation.guidance_start, generation.guidance_stop, denoised)
    if not guided:
        part = range(denoised)
    samples = 0
    for index in range(denoised):
        whole = computes_all(index, generation.cache_interval, part)
        if whole == (component.role != "shallow_denoiser"):
            samples += predictions if guided and index in part else 1
    # a batch that is open, or above 1, takes all samples of guidance at once
    return samples / (1 if component.inputs[0].shape[0] == 1 else predictions)


def _tiles(generation: Generation, side: int) -> int:
    height, width = (
        len(starts(size // generation.vae_scale_factor, side))
        for size in (generation.height, generation.width)
    )
    return height * width


def operations_of(trace: ComponentTrace) -> int:
    """Return the floating-point operations of one call: two for a product and its sum."""
    return sum(_operations(it, trace) for it in trace.operators)


def _operations(operator: Operator, trace: ComponentTrace) -> int:
    match operator.kind:
        case "input":
            return 0
        case "conv2d" | "linear" if operator.weights:
            return 2 * operator.elements * math.prod(operator.weights[0][1:])
        case "scaled_dot_product_attention":
            query, key = (trace.operators[it].shape for it in operator.takes[:2])
            return 4 * math.prod(query) * key[-2]
        case "matmul" | "bmm":
            return 2 * operator.elements * trace.operators[operator.takes[0]].shape[-1]
    return operator.elements
