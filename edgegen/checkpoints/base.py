"""What the names of a file are mapped to, whatever network they are of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edgegen.core.errors import SourceError

Shapes = Mapping[str, tuple[int, ...]]
"""Key of a file -> shape."""

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Where a parameter lies: the tensor `key`, or one of so many equal `part`s of its first axis.

    `part` is (which, of how many). A parameter that is `transposed` has the axes of the tensor in
    the other order. `shape` is the parameter's.
    """

    key: str
    shape: tuple[int, ...]
    part: tuple[int, int] | None = None
    transposed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A network of a file: its config as far as the file says it, and its parameters by name."""

    config: Mapping[str, Any]
    parameters: Mapping[str, Taken]


@dataclass(slots=True)
class Naming:
    """Collects the parameters of one network, and the keys that are none of it."""

    shapes: Shapes
    found: dict[str, Taken] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def put(self, name: str, key: str) -> None:
        """Take a tensor as it is."""
        self.found[name] = Taken(key=key, shape=self.shapes[key])

    def put_parts(self, names: Iterable[str], key: str) -> None:
        """Take a tensor whose first axis has several parameters behind one another.

        Raises SourceError where they aren't equal in size.
        """
        names = tuple(names)
        shape = self.shapes[key]
        if not shape or shape[0] % len(names):
            raise SourceError(
                f"'{key}' has the shape {shape}, which holds no {len(names)} layers of one size.",
                hint="The file is damaged or of a kind that edgegen does not know.",
            )
        for index, name in enumerate(names):
            self.found[name] = Taken(
                key=key, shape=(shape[0] // len(names), *shape[1:]), part=(index, len(names))
            )

    def put_transposed(self, name: str, key: str) -> None:
        """Take a matrix that is stored the other way round."""
        self.found[name] = Taken(key=key, shape=self.shapes[key][::-1], transposed=True)

    def shape_of(self, name: str, rank: int) -> tuple[int, ...]:
        """Return the shape of a parameter that must be there.

        Raises SourceError where it is missing, or has other than `rank` axes.
        """
        taken = self.found.get(name)
        if taken is None:
            raise SourceError(
                f"The file lacks '{name}', as diffusers calls it, without which its network is "
                "none.",
                hint="Download it again, or take another file of this model.",
            )
        if len(taken.shape) != rank or not all(taken.shape):
            raise SourceError(
                f"'{taken.key}' has the shape {taken.shape}, and should have {rank} axes.",
                hint="The file is damaged: download it again.",
            )
        return taken.shape

    def prefixed(self, prefix: str) -> dict[str, Taken]:
        """Return the parameters with the keys that they have in the file."""
        return {name: replace(it, key=prefix + it.key) for name, it in self.found.items()}


def as_named(shapes: Shapes) -> Naming:
    """Return the names of a file that has diffusers' own."""
    naming = Naming(shapes)
    for key in shapes:
        naming.put(key, key)
    return naming


Reader = Callable[[Shapes], tuple[Naming, Mapping[str, Any]]]
"""Maps the names of a network; gets its keys without the prefix that they have in the file."""


def listed(keys: Iterable[str]) -> str:
    """Return a few keys in quotes, and how many more there are."""
    names = sorted(keys)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{key:.120}'" for key in names[:_SHOWN]) + more


def unlike(what: str) -> SourceError:
    """Return the error for a network of a structure that diffusers' classes don't have."""
    return SourceError(
        f"The file's UNet is none that diffusers has a class for: {what}.",
        hint="Give the folder of the model in diffusers' layout, where there is one.",
    )
