"""Gives every component named tensor inputs and a tuple of outputs."""

from __future__ import annotations

import torch

from edgegen.core.model import Component
from edgegen.networks import part_of


class Wrapper(torch.nn.Module):
    """A component as `torch.export` takes it; its network is the attribute `network`.

    It takes the inputs in the order of `Component.inputs`, and returns the outputs in the order of
    `Component.outputs`. Raises SourceError for a class that is not known.
    """

    def __init__(self, network: torch.nn.Module, component: Component) -> None:
        super().__init__()
        self.network = network
        self.compute = part_of(component).forward
        self.inputs = tuple(tensor.name for tensor in component.inputs)
        self.outputs = tuple(tensor.name for tensor in component.outputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the outputs."""
        computed = self.compute(self.network, dict(zip(self.inputs, tensors, strict=True)))
        return tuple(computed[name] for name in self.outputs)
