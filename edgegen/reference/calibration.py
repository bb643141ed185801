"""Watches what goes into a pipeline's linear and convolutional layers, and what comes out.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from edgegen.core.calibration import Calibration, LayerRange
from edgegen.core.errors import SourceError
from edgegen.core.model import Component
from edgegen.reference.clipping import best_range
from edgegen.reference.histogram import Histogram, Sampled

LAYERS = (torch.nn.Linear, torch.nn.Conv2d)


class Observer:
    """Histograms of the inputs and the outputs of every layer that ran while it watched."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        self._last: tuple[torch.Tensor, Sampled] | None = None

    @contextmanager
    def watching(
        self, components: Iterable[Component], modules: Mapping[str, torch.nn.Module]
    ) -> Iterator[None]:
        """Watch the layers of `components`; `modules` are the networks by their folder."""
        handles = [
            layer.register_forward_hook(functools.partial(self._observe, component.name, path))
            for component in components
            for path, layer in layers_of(component, modules[component.folder]).items()
        ]
        try:
            yield
        finally:
            self._last = None
            for handle in handles:
                handle.remove()

    def calibration(self) -> Calibration:
        """Return the ranges of all layers that ran, in the order in which they first did."""
        components: dict[str, dict[str, LayerRange]] = {}
        for (component, path), (inputs, outputs) in self._seen.items():
            ranges = {**_ends("input", inputs), **_ends("output", outputs)}
            components.setdefault(component, {})[path] = LayerRange(**ranges)
        return Calibration(components=components)

    def _observe(
        self, component: str, path: str, _layer: torch.nn.Module, arguments: Any, output: Any
    ) -> None:
        pair = self._seen.setdefault((component, path), (Histogram(), Histogram()))
        try:
            pair[0].add_sampled(self._input(arguments[0]))
            pair[1].add(output)
        except ValueError as error:
            raise SourceError(
                f"{component} computes values in '{path}' that are not finite, in torch and in "
                "float32.",
                hint="The model itself is broken: compare its files with where they come from.",
            ) from error

    def _input(self, value: torch.Tensor) -> Sampled:
        """Return what is sampled of an input; queries, keys and values share theirs."""
        last = self._last
        known = last[1] if last is not None and last[0] is value else None
        self._last = value, Sampled.of(value, known)
        return self._last[1]


def layers_of(component: Component, module: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Return a component's linear and convolutional layers by their path in its network.

    An autoencoder's belong to its encoder or to its decoder, and those of a shallow denoiser to it
    and to the whole one.
    """
    return {
        path: layer
        for path, layer in module.named_modules()
        if isinstance(layer, LAYERS) and f"{path}.".startswith(component.prefixes)
    }


def _ends(name: str, histogram: Histogram) -> dict[str, float]:
    low, high = 0.0, 0.0
    if not histogram.is_zero:
        low, high = best_range(
            histogram.counts, histogram.edges, histogram.minimum, histogram.maximum
        )
    return {
        f"{name}_minimum": histogram.minimum,
        f"{name}_maximum": histogram.maximum,
        # float32, as whatever quantizes with them computes in it
        f"{name}_low": float(np.float32(low)),
        f"{name}_high": float(np.float32(high)),
    }
