"""The losses of all layers of a model, from the gradients that its pictures left in files.

Imported in the measuring processes only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgegen.core.model import PipelineSpec
from edgegen.core.sensitivity import LayerSensitivity
from edgegen.core.worker import Emit
from edgegen.networks import network_of
from edgegen.reference.pipeline import Reference
from edgegen.sensitivity.gradients import DifferentiableWeights, gradient_path
from edgegen.sensitivity.losses import losses_of


def table_of(
    spec: PipelineSpec,
    reference: Reference,
    weights: DifferentiableWeights,
    gradients: Sequence[Path],
    values: int,
    emit: Emit,
) -> dict[str, dict[str, LayerSensitivity]]:
    """Return the losses of all layers with weights of two axes or more."""
    table: dict[str, dict[str, LayerSensitivity]] = {}
    for component in spec.components:
        module = reference.modules[component.folder]
        layers = table.setdefault(component.name, {})
        tied = network_of(component.class_name).keys.tied
        for name, stub in module.named_parameters():
            if stub.ndim < 2 or not name.startswith(component.prefixes):
                continue
            layer = name.rpartition(".")[0]
            files = [gradient_path(folder, component.folder, name) for folder in gradients]
            if name in tied and not any(file.is_file() for file in files):
                continue  # used under its twin's name
            emit("step", text=f"{component.name}, {layer}")
            losses = losses_of(weights.read(stub), files, values=values)
            known = layers.get(layer)
            layers[layer] = LayerSensitivity(
                shapes=(*(known.shapes if known else ()), tuple(stub.shape)),
                losses={
                    storage: loss + (known.losses[storage] if known else 0.0)
                    for storage, loss in losses.items()
                },
            )
    return table
