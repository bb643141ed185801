"""The highest memory of a package on a device: weights, activations and what a runtime adds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.measurement import MemoryMode, Residency
from edgegen.core.trace import ComponentTrace
from edgegen.packaging.candidate import Candidate, predict
from edgegen.packaging.model_facts import ModelFacts
from edgegen.predict.liveness import peak_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentMemory:
    """What a component takes while it is loaded, and what besides while it computes.

    `largest_weight` and `largest_activation` name the layers of the largest single buffers.
    """

    weights_bytes: int
    activations_bytes: int
    largest_weight_bytes: int
    largest_weight: str
    largest_activation_bytes: int
    largest_activation: str

    @property
    def total_bytes(self) -> int:
        """Return what it takes while it computes."""
        return self.weights_bytes + self.activations_bytes

    @property
    def largest_buffer_bytes(self) -> int:
        """Return the size of its largest single buffer."""
        return max(self.largest_weight_bytes, self.largest_activation_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPrediction:
    """The highest sum of PSS of a run, by which `edgegen bench` measures memory.

    `base_bytes` is what the interpreter and the runtime take before a component is loaded.
    `largest_buffer` says which component and layer has the largest single buffer. `unmeasured` is
    true where no measurement stands behind the runtime's figures.
    """

    components: Mapping[str, ComponentMemory]
    base_bytes: int
    peak_bytes: int
    largest_buffer_bytes: int
    largest_buffer: str
    unmeasured: bool


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
    components = {}
    for component in candidate.spec.components:
        trace = traces[component.name]
        activation = max(trace.operators, key=lambda it: it.size_bytes)
        weight = max(facts.weights[component.name], key=lambda it: math.prod(it.shape))
        components[component.name] = ComponentMemory(
            weights_bytes=stored[component.name],
            activations_bytes=peak_bytes(trace),
            largest_weight_bytes=4 * math.prod(weight.shape),
            largest_weight=weight.layer,
            largest_activation_bytes=activation.size_bytes,
            largest_activation=activation.layer,
        )
    base_bytes = 60 << 20
    totals = [it.total_bytes for it in components.values()]
    name, largest = max(components.items(), key=lambda item: item[1].largest_buffer_bytes)
    of_weight = largest.largest_weight_bytes >= largest.largest_activation_bytes
    layer = largest.largest_weight if of_weight else largest.largest_activation
    return MemoryPrediction(
        components=components,
        base_bytes=base_bytes,
        peak_bytes=base_bytes + (sum(totals) if residency == "all" else max(totals)),
        largest_buffer_bytes=largest.largest_buffer_bytes,
        largest_buffer=f"{name}: {'weights' if of_weight else 'activations'} of {layer}",
        unmeasured=backend == "coreml",
    )
