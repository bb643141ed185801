"""Gradients of a number that a whole pipeline computes, with weights that stay on the disk.

A weight is read when a function uses it, and again when its gradient is computed: what autograd
keeps of it in between is where to read it. The denoiser, which runs at each step, keeps its inputs
only and runs once more in the backward pass (Chen et al., "Training Deep Nets with Sublinear Memory
Cost", 2016); of a large model each of its blocks does so as well, and each of the decoder's. A
weight's gradient is the sum over all its uses, and lies in a file of its own.

Imported in the measuring process only, and therefore imports torch at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from edgegen.reference.streaming import Source, StreamedWeights

Wanted = Callable[[str, str], bool]
"""(component's folder, name of a parameter) -> whether its gradient is wanted"""


@dataclass(frozen=True, slots=True)
class _Place:
    """A weight that autograd wants back: the source, and the view of it."""

    source: Source
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class DifferentiableWeights(StreamedWeights):
    """Streamed weights whose gradients are summed up in files while they are `recorded`."""

    def __init__(self) -> None:
        super().__init__()
        self._anchor = torch.zeros((), requires_grad=True)
        self._wanted: Wanted | None = None
        self._least_axes = 2
        self._folder = Path()

    @contextmanager
    def recorded(
        self, folder: Path, wanted: Wanted, *, with_vectors: bool = False
    ) -> Iterator[None]:
        """Let backward passes write the gradients of `wanted` weights into files of `folder`.

        Parameters of one axis, biases and the like, are only among them `with_vectors`.
        """
        self._wanted, self._folder, self._least_axes = wanted, folder, 1 if with_vectors else 2
        try:
            yield
        finally:
            self._wanted = None

    @contextmanager
    def differentiated(self) -> Iterator[None]:
        """Let torch record what it computes; saved weights are places on the disk."""
        hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)
        with self, torch.enable_grad(), hooks:
            yield

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func` with the weights in place of their stubs; numpy gets no record.

        `Module.to` looks for gradients of parameters; stubs have none, and weights hand theirs on.
        """
        if getattr(func, "__self__", None) is torch.Tensor.grad:
            return func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "numpy":
            args = (args[0].detach(), *args[1:])
        return super().__torch_function__(func, types, args, kwargs)

    def read(self, stub: torch.Tensor) -> NDArray[np.float32]:
        """Return the numbers of a parameter."""
        array: NDArray[np.float32] = StreamedWeights._take(self, self._sources[id(stub)]).numpy()
        return array

    def add_gradient(self, source: Source, gradient: torch.Tensor) -> None:
        """Add the gradient of one use of a weight to what its others had."""
        path = gradient_path(self._folder, source.component, source.name)
        array = gradient.detach().to(torch.float32).contiguous().numpy()
        if path.is_file():
            array = array + np.load(path)
        np.save(path, array)

    def _take(self, source: Source) -> torch.Tensor:
        loaded = super()._take(source)
        wanted = self._wanted
        if wanted is None or not torch.is_grad_enabled():
            return loaded
        if loaded.ndim < self._least_axes:
            return loaded
        if not wanted(source.component, source.name):
            return loaded
        tapped: torch.Tensor = _Tap.apply(self._anchor, self, source, loaded)
        return tapped

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor | _Place:
        source = self.source_of(tensor)
        if source is None:
            return tensor
        return _Place(source, tuple(tensor.shape), tensor.stride(), tensor.storage_offset())

    def _unpack(self, saved: torch.Tensor | _Place) -> torch.Tensor:
        if isinstance(saved, torch.Tensor):
            return saved
        whole = StreamedWeights._take(self, saved.source)
        return whole.detach().as_strided(saved.size, saved.stride, saved.offset)

    def checkpointed(self, module: torch.nn.Module) -> None:
        """Let a network keep its inputs only, and run once more in the backward pass."""
        plain = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return plain(*args, **kwargs)
            leaves, form = pytree.tree_flatten((args, kwargs))
            run = _Run(self, plain, form)
            outputs = _Checkpoint.apply(self._anchor, run, *leaves)
            return pytree.tree_unflatten(outputs, run.made)

        module.forward = forward


class _Run:
    """One run of a network: what it takes of the flat inputs, and the form of what it made."""

    def __init__(self, weights: DifferentiableWeights, forward: Any, form: Any) -> None:
        self.weights = weights
        self.made: Any = None
        self._forward = forward
        self._form = form

    def __call__(self, leaves: Sequence[Any]) -> tuple[torch.Tensor, ...]:
        args, kwargs = pytree.tree_unflatten(leaves, self._form)
        outputs, self.made = pytree.tree_flatten(self._forward(*args, **kwargs))
        # a tensor that is returned twice would get one gradient for both
        seen: set[int] = set()
        for index, output in enumerate(outputs):
            if isinstance(output, torch.Tensor) and id(output) in seen:
                outputs[index] = output.view_as(output)
            seen.add(id(output))
        return tuple(outputs)


class _Tap(torch.autograd.Function):  # type: ignore[misc]  # torch has no type for it
    """Hands on a weight, and hands its gradient over instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, anchor: Any, owner: Any, source: Any, weight: Any) -> Any:
        ctx.owner, ctx.source = owner, source
        return weight.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        ctx.owner.add_gradient(ctx.source, gradients[0])
        return None, None, None, None


class _Checkpoint(torch.autograd.Function):  # type: ignore[misc]  # as above
    """Runs a network without a record, and with one in the backward pass."""

    @staticmethod
    def forward(ctx: Any, anchor: Any, run: Any, *leaves: Any) -> Any:
        ctx.run, ctx.leaves = run, leaves
        return run(leaves)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        leaves = [_fresh(leaf) for leaf in ctx.leaves]
        with ctx.run.weights.differentiated():
            outputs = ctx.run(leaves)
        torch.autograd.backward(outputs, gradients)
        return None, None, *(getattr(leaf, "grad", None) for leaf in leaves)


def _fresh(leaf: Any) -> Any:
    """Return an input of a run as the beginning of a record of its own."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return leaf.detach().requires_grad_(leaf.is_floating_point())


def blocks_of(network: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the members of a network's outermost lists of modules: its levels and blocks."""
    for child in network.children():
        if isinstance(child, torch.nn.ModuleList):
            yield from child
        else:
            yield from blocks_of(child)


def gradient_path(folder: Path, component: str, name: str) -> Path:
    """Return the file of a weight's gradient; `component` is the folder of its network."""
    return folder / f"{component}.{name}.npy"
