"""The chips whose NPU packages are compiled for: `targets/onnx/chips.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from edgegen.core.codec import load_toml
from edgegen.core.errors import ConfigError, nearest
from edgegen.core.profile import Source
from edgegen.core.shipped import shipped


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


def load_chip(name: str) -> Chip:
    """Return a chip by its name, or by a part's: `snapdragon-8-gen-3`, `SM8650`.

    Raises ConfigError, with the nearest name, where it is unknown.
    """
    chips = list_chips()
    word = name.lower().replace(" ", "-")
    for chip in chips:
        if word == chip.name or name.upper() in chip.parts:
            return chip
    raise ConfigError(
        f"There is no chip '{name}'.", hint=nearest(word, [chip.name for chip in chips])
    )
