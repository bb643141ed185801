"""The ranges of a model's activations, as measured on trajectories of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.errors import ExportError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRange:
    """The ranges of what goes into a linear or convolutional layer and of what comes out of it.

    The output is that of the layer alone, its bias included and before any activation function.
    `minimum` and `maximum` are the extremes of all that was seen. `low` and `high` are the ends of
    the 256 evenly spaced numbers (zero is one of them) that stand for it with the least squared
    error: values beyond them are clipped. Both are 0 where nothing but zeros was seen.
    """

    input_minimum: float
    input_maximum: float
    input_low: float
    input_high: float
    output_minimum: float
    output_maximum: float
    output_low: float
    output_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A range for each layer: component name → module path inside its network → range."""

    components: Mapping[str, Mapping[str, LayerRange]]

    def layer(self, component: str, layer: str) -> LayerRange:
        """Return a layer's range. Raises ExportError where none was measured."""
        found = self.components.get(component, {}).get(layer)
        if found is None:
            raise ExportError(
                f"{component}: no range was measured for the activations of '{layer}'.",
                hint="Take a recipe without static activations for it, and please report the "
                "model's config: it has a layer that edgegen has not seen.",
            )
        return found
