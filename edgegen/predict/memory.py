"""The highest memory of a package on a device: weights, activations and what a runtime adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgegen_runner.runtimes import called

from edgegen.core.measurement import MemoryMode, Residency
from edgegen.core.model import Component, PipelineSpec, main_role
from edgegen.core.trace import ComponentTrace
from edgegen.packaging.candidate import Candidate, predict
from edgegen.packaging.model_facts import ModelFacts
from edgegen.predict.activations import Activations, activations, scores_bytes
from edgegen.predict.runtime_memory import RuntimeMemory, runtime_memory
from edgegen.predict.weights import held_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentMemory:
    """What a component takes while it is loaded, and what besides while it computes.

    `weights_bytes` counts the runtime's copies and the pages of the file that are read,
    `loading_bytes` what it takes besides until it is loaded, `activations_bytes` its results and
    what it needs to compute them. `largest_weight` and `largest_activation` are the layers of the
    largest single buffers.
    """

    weights_bytes: int
    loading_bytes: int
    activations_bytes: int
    largest_weight_bytes: int
    largest_weight: str
    largest_activation_bytes: int
    largest_activation: str

    @property
    def total_bytes(self) -> int:
        """Return what it takes at its highest."""
        return self.weights_bytes + max(self.activations_bytes, self.loading_bytes)

    @property
    def largest_buffer_bytes(self) -> int:
        """Return the size of its largest single buffer."""
        return max(self.largest_weight_bytes, self.largest_activation_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrediction:
    """The highest sum of PSS of a run, by which `edgegen bench` measures memory.

    `components` are those that an image calls. `base_bytes` is what the interpreter and the runtime
    take without one. `largest_buffer` says which component and layer has the largest single buffer.
    `unmeasured` is true where no measurement stands behind the figures of the runtime, or of the
    provider that it computes with.
    """

    components: Mapping[str, ComponentMemory]
    base_bytes: int
    peak_bytes: int
    largest_buffer_bytes: int
    largest_buffer: str
    unmeasured: bool


@dataclass(frozen=True, slots=True)
class _Part:
    memory: ComponentMemory
    activations: Activations
    runtime: RuntimeMemory


def predict_memory(
    candidate: Candidate,
    facts: ModelFacts,
    traces: Mapping[str, ComponentTrace],
    *,
    backend: str,
    residency: Residency = "all",
    memory_mode: MemoryMode = "auto",
) -> MemoryPrediction:
    """Return what a candidate's package takes on a runtime of `edgegen_runner.runtimes`.

    `traces` are those of `edgegen.predict.traces.read_traces`: the same candidate at the same size.
    """
    stored = predict(candidate, facts).component_bytes
    parts = {
        component.name: _part(
            component,
            candidate,
            facts,
            traces[component.name],
            runtime_memory(
                backend, memory_mode, stored[component.name], candidate.runtime.providers
            ),
        )
        for component in called_components(candidate.spec)
    }
    components = {name: part.memory for name, part in parts.items()}
    base_bytes = max(part.runtime.base_bytes for part in parts.values())
    if residency == "all":
        held = _together(list(parts.values()))
    else:
        held = _apart(called_components(candidate.spec), parts, residency)
    name, largest = max(components.items(), key=lambda item: item[1].largest_buffer_bytes)
    of_weight = largest.largest_weight_bytes >= largest.largest_activation_bytes
    layer = largest.largest_weight if of_weight else largest.largest_activation
    return MemoryPrediction(
        components=components,
        base_bytes=base_bytes,
        peak_bytes=base_bytes + held,
        largest_buffer_bytes=largest.largest_buffer_bytes,
        largest_buffer=f"{name}: {'weights' if of_weight else 'activations'} of {layer}",
        unmeasured=called(candidate.runtime.package) is None
        or any(part.runtime.unmeasured for part in parts.values()),
    )


def called_components(spec: PipelineSpec) -> tuple[Component, ...]:
    """Return the components that an image calls: without an encoder where it begins in noise."""
    return tuple(it for it in spec.components if it.role != "encoder" or spec.facts.needs_picture)


def _part(
    component: Component,
    candidate: Candidate,
    facts: ModelFacts,
    trace: ComponentTrace,
    runtime: RuntimeMemory,
) -> _Part:
    recipe = candidate.recipe.of(component)
    sizes = candidate.target.sizes
    weights = list(held_weights(facts.weights[component.name], trace, recipe, sizes, runtime))
    largest_weight = max(weights, key=lambda it: it.buffer_bytes)
    results = activations(trace, main_role(component.role), recipe, runtime)
    blocks = [
        max(it.size_bytes, scores_bytes(it, trace, runtime.scores_bytes)) for it in trace.operators
    ]
    largest_block = max(range(len(blocks)), key=lambda position: blocks[position])
    memory = ComponentMemory(
        weights_bytes=round(sum(it.held_bytes for it in weights)),
        loading_bytes=round(sum(it.loading_bytes for it in weights)),
        activations_bytes=round(results.own_bytes + results.heap_bytes + results.lent_bytes),
        largest_weight_bytes=largest_weight.buffer_bytes,
        largest_weight=largest_weight.layer,
        largest_activation_bytes=blocks[largest_block],
        largest_activation=trace.operators[largest_block].layer,
    )
    return _Part(memory, results, runtime)


def _together(parts: Sequence[_Part]) -> int:
    """Return the highest sum where all components are loaded one after the other, then run."""
    loaded = highest = 0.0
    for part in parts:
        highest = max(highest, loaded + part.memory.weights_bytes + part.memory.loading_bytes)
        loaded += part.memory.weights_bytes
    running = loaded + sum(it.activations.own_bytes for it in parts)
    running += max(it.activations.heap_bytes + it.activations.lent_bytes for it in parts)
    return round(max(highest, running))


def _apart(
    components: Sequence[Component], parts: Mapping[str, _Part], residency: Residency
) -> int:
    """Return the highest sum where a component is alone; denoisers, or what draws, are together."""
    groups: dict[str, list[_Part]] = {}
    for component in components:
        role = main_role(component.role)
        together = role != "text_encoder" if residency == "drawing" else role == "denoiser"
        key = "denoiser" if together else component.name
        groups.setdefault(key, []).append(parts[component.name])
    return max(
        group[0].memory.total_bytes if len(group) == 1 else _together(group)
        for group in groups.values()
    )
