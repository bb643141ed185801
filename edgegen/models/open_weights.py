"""Opens a component's weights, wherever they lie."""

from __future__ import annotations

from pathlib import Path

from edgegen.models.layouts import layout_of
from edgegen.models.weight_source import StoredWeights
from edgegen.models.weights import Weights


def open_weights(component_folder: Path, variant: str | None = None) -> StoredWeights:
    """Read the headers of a component's weights: those in its folder, or those that a layout notes.

    Raises SourceError as `Weights.open` does, and where a noted file is another one by now.
    """
    layout = layout_of(component_folder.parent)
    noted = None if layout is None else layout.components.get(component_folder.name)
    if noted is None:
        return Weights.open(component_folder, variant)
    from edgegen.models.checkpoint_weights import CheckpointWeights

    return CheckpointWeights.open(noted)
