"""An operation's arguments, in the form that its implementation asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from edgegen.core.errors import IntegrityError


def as_tensor(value: Any) -> torch.Tensor:
    """Return an array or a tensor as a tensor; all floating-point types become float32."""
    if not isinstance(value, torch.Tensor):
        array = np.asarray(value)
        if array.dtype == np.uint32:
            array = array.astype(np.int64)
        # A copy: the array may be a view of a mapped file, which nothing may write to.
        value = torch.from_numpy(np.array(array, order="C"))
    return value.float() if value.is_floating_point() else value


class Arguments:
    """The arguments of one operation by name: tensors, arrays, texts, or lists of them.

    With `shapes_only` the tensors have shapes and no numbers, as torch's device `meta` has them:
    what an operation would return can be asked before it takes memory.
    """

    def __init__(
        self, op_type: str, values: Mapping[str, Any], *, shapes_only: bool = False
    ) -> None:
        self.op_type = op_type
        self._values = values
        self._device = "meta" if shapes_only else "cpu"

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> Any:
        """Return an argument as it is. Raises IntegrityError where it is missing."""
        if name not in self._values:
            raise IntegrityError(
                f"An operation {self.op_type} has no {name}.", hint="The model is damaged."
            )
        return self._values[name]

    def array(self, name: str) -> Any:
        """Return an argument as a numpy array."""
        value = self.raw(name)
        return value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)

    def tensor(self, name: str) -> torch.Tensor:
        """Return an argument as a tensor, of float32 where it has fractions."""
        return self._as_tensor(self.raw(name))

    def optional(self, name: str) -> torch.Tensor | None:
        """Return an argument as a tensor, or None where it is missing."""
        return self.tensor(name) if name in self else None

    def tensors(self, name: str) -> list[torch.Tensor]:
        """Return a list of arguments as tensors."""
        value = self.raw(name)
        return [self._as_tensor(item) for item in (value if isinstance(value, list) else [value])]

    def _as_tensor(self, value: Any) -> torch.Tensor:
        return as_tensor(value).to(self._device)

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """Return an argument as whole numbers."""
        if name not in self and default is not None:
            return default
        return [int(number) for number in self.array(name).reshape(-1)]

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an argument as a whole number."""
        if name not in self and default is not None:
            return default
        return self.integers(name)[0]

    def number(self, name: str, default: float | None = None) -> float:
        """Return an argument as a number."""
        if name not in self and default is not None:
            return default
        return float(self.array(name).reshape(-1)[0])

    def flag(self, name: str, default: bool = False) -> bool:
        """Return an argument as a truth value."""
        return bool(self.array(name).reshape(-1)[0]) if name in self else default

    def flags(self, name: str, count: int) -> list[bool]:
        """Return an argument as truth values, all False where it is missing."""
        if name not in self:
            return [False] * count
        return [bool(value) for value in self.array(name).reshape(-1)]

    def text(self, name: str, default: str | None = None) -> str:
        """Return an argument as a text."""
        if name not in self and default is not None:
            return default
        return str(self.raw(name))
