"""The chips whose NPU packages are compiled for: `targets/onnx/chips.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.profile import Source
from edgegen.core.shipped import shipped

COMPILED_TARGET = "onnx"
"""The target whose packages are compiled for NPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A chip with a Hexagon NPU.

    `parts` are its maker's names for it, first the one that the compiler writes into a context.
    `architecture` is the NPU's (V75: 75), `soc_model` the compiler's number of the chip, `vtcm_mb`
    the memory beside the NPU's vector units. Without `float16` the NPU computes integers only.
    """

    name: str
    title: str
    architecture: int
    soc_model: int
    vtcm_mb: int
    parts: tuple[str, ...]
    sources: tuple[Source, ...]
    float16: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chips:
    chips: tuple[Chip, ...]


@cache
def list_chips() -> tuple[Chip, ...]:
    """Read all chips."""
    return load_toml(_Chips, shipped("targets") / "onnx" / "chips.toml").chips


def find_chip(name: str) -> Chip | None:
    """Return a chip by its name, or by a part's: `snapdragon-8-gen-3`, `SM8650`."""
    word = name.lower().replace(" ", "-")
    found = (it for it in list_chips() if word == it.name or name.upper() in it.parts)
    return next(found, None)


def chip_folder(chips: Sequence[Chip], chip: Chip) -> str:
    """Return where one of the chips of a package has its contexts, in a component's folder.

    They lie in it themselves where there is one chip only.
    """
    return chip.name if len(chips) > 1 else ""


def load_chip(name: str) -> Chip:
    """Return a chip; see `find_chip`. Raises ConfigError, with the nearest name, for another."""
    chip = find_chip(name)
    if chip is None:
        known = [each.name for each in list_chips()]
        raise ConfigError(f"There is no chip '{name}'.", hint=nearest(name.lower(), known))
    return chip
