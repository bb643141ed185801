"""Weights that are in memory only while a torch function uses them.

A module holds stubs: parameters with the right shape and no memory of their own. While the mode is
entered, every torch function that is given a stub gets the weight in its place, read then and freed
after. As the reading hangs on the function and not on the module, it makes no difference how a
module comes to a parameter: its own, a child's (as `torch.nn.MultiheadAttention` does) or a tied
one. A stub is NaN all over: what would slip past the mode shows in the output instead of passing
for a weight.

Imported in the reference's own process only, and therefore imports torch at the top.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from edgegen.core.errors import SourceError
from edgegen.models.weights import check_finite

ReadParameter = Callable[[str], npt.NDArray[Any]]
"""Reads one parameter by its name in the module, in whatever type it is stored."""

KEPT_BYTES = 256 << 20
"""Weights that take no more, as float32 and all together, may stay in memory."""

_ALIGNMENT_BYTES = 64
"""That of torch's own allocations; where there is none, some kernels sum in another order."""

_METADATA = frozenset(
    {
        "__get__:device",
        "__get__:dtype",
        "__get__:is_cpu",
        "__get__:is_cuda",
        "__get__:is_meta",
        "__get__:layout",
        "__get__:ndim",
        "__get__:requires_grad",
        "__get__:shape",
        "dim",
        "element_size",
        "is_complex",
        "is_floating_point",
        "nelement",
        "numel",
        "size",
        "stride",
    }
)
"""What asks a tensor for no number. One that is missing here costs a reading, nothing else."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a parameter of a component's folder is read from."""

    stub: Any  # held, so that its id stays its own
    component: str
    name: str
    read: ReadParameter


class StreamedWeights(TorchFunctionMode):
    """Gives torch functions the weights that they use, for as long as they use them.

    `live_bytes` are the weights in memory now, `peak_bytes` the most that ever were, `read_bytes`
    what was read altogether; all as float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live_bytes = 0
        self.peak_bytes = 0
        self.read_bytes = 0
        self._sources: dict[int, Source] = {}
        self._checked: set[int] = set()
        self._kept: dict[int, torch.Tensor] | None = None
        self._live: dict[int, Source] = {}

    def add(
        self,
        module: torch.nn.Module,
        *,
        component: str,
        names: Collection[str],
        read: ReadParameter,
    ) -> None:
        """Replace every parameter of `module` by a stub, and fill its buffers that are stored.

        `names` are the parameters and buffers that `read` knows. Buffers are small and stay; those
        that are not stored have to be there already.
        """
        stubs: dict[int, torch.nn.Parameter] = {}
        for name, parameter in list(module.named_parameters(remove_duplicate=False)):
            stub = stubs.get(id(parameter))
            if stub is None:
                filled = torch.full((), torch.nan).expand(parameter.shape)
                stub = stubs[id(parameter)] = torch.nn.Parameter(filled, requires_grad=False)
                self._sources[id(stub)] = Source(stub, component, name, read)
            path, _, attribute = name.rpartition(".")
            module.get_submodule(path)._parameters[attribute] = stub
        for name, buffer in module.named_buffers():
            if name in names:
                buffer.copy_(torch.from_numpy(read(name)))

    def keep_small(self) -> bool:
        """Read each weight only once from now on, if all of them are small; return whether.

        For runs of many steps, in which reading takes as long as computing.
        """
        if (
            self._kept is None
            and sum(4 * it.stub.numel() for it in self._sources.values()) <= KEPT_BYTES
        ):
            self._kept = {}
        return self._kept is not None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func` with the weights in place of their stubs."""
        if _kind(func) in _METADATA:
            return func(*args, **(kwargs or {}))
        return func(*self._filled(args), **self._filled(kwargs or {}))

    def _filled(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Parameter):
            source = self._sources.get(id(value))
            return value if source is None else self._take(source)
        if type(value) in (tuple, list):
            return type(value)(self._filled(item) for item in value)
        if type(value) is dict:
            return {key: self._filled(item) for key, item in value.items()}
        return value

    def _take(self, source: Source) -> torch.Tensor:
        key = id(source.stub)
        if self._kept is None:
            return self._load(source)
        if key not in self._kept:
            self._kept[key] = self._load(source)
        return self._kept[key]

    def _load(self, source: Source) -> torch.Tensor:
        stored = source.read(source.name)
        shape = tuple(source.stub.shape)
        if stored.shape != shape:
            raise SourceError(
                f"{source.component}: the tensor {source.name} has the shape {stored.shape}, "
                f"and the config makes it {shape}.",
                hint="Take the weights and the config from the same model.",
            )
        size_bytes = 4 * stored.size
        memory = np.empty(size_bytes + _ALIGNMENT_BYTES, np.uint8)
        first = -memory.ctypes.data % _ALIGNMENT_BYTES
        array = memory[first : first + size_bytes].view(np.float32).reshape(shape)
        tensor = torch.from_numpy(array)
        tensor.copy_(torch.from_numpy(stored))  # ten times as fast as numpy from float16
        if id(source.stub) not in self._checked:
            check_finite(f"{source.component}.{source.name}", array)
            self._checked.add(id(source.stub))
        self.read_bytes += size_bytes
        self.live_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        # torch holds the memory for as long as any tensor looks at it
        weakref.finalize(memory, self._forget, size_bytes, tensor.data_ptr()).atexit = False
        self._live[tensor.data_ptr()] = source
        return tensor

    def source_of(self, tensor: torch.Tensor) -> Source | None:
        """Return whose weight, or part of a weight, a tensor is; None for any other tensor."""
        return self._live.get(tensor.untyped_storage().data_ptr())

    def _forget(self, size_bytes: int, place: int) -> None:
        self.live_bytes -= size_bytes
        del self._live[place]


def _kind(func: Any) -> str:
    name: str = getattr(func, "__name__", "")
    if name == "__get__":
        owner = getattr(func, "__self__", None)
        return f"__get__:{getattr(owner, '__name__', '')}"
    return name
