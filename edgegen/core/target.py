"""Target specifications: the facts about one package format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.model import Family

CompatibilityResult = Literal["same-image", "loads", "cannot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility:
    """One cell of the matrix of what a peer's runtime does with our packages.

    `same-image` is measured by a test; `cannot` says why.
    """

    runtime: str
    runtime_version: str
    loader: str
    family: Family
    scheduler: str
    result: CompatibilityResult
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSpec:
    """A package format: what it can hold, how it is laid out, and who can load it."""

    name: str
    title: str
    description: str
    artifact: str  # the file of a component inside its folder, `model.onnx`
    extra: str  # the extra of `pip install edgegen[...]` that exporting needs
    runtimes: tuple[str, ...]
    families: tuple[Family, ...]
    recipes: tuple[str, ...]
    default_recipe: str
    compatibility: tuple[Compatibility, ...] = ()
