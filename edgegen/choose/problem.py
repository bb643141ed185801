"""What a search is about: the candidates with what is known beforehand, and which of two is better.

Of the candidates that meet all limits, the smallest package wins. Before that count the models in
the order of `prefer`, where it is given (a pruned one that isn't named stands where its original
does), and the size of the pictures: a larger one is better. Of one package the fewest steps, and of
them the fewest with all layers, win where a limit guards the quality, else the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.choice import Way
from edgegen.core.figures import UNKNOWN, Figure, Limit

Effort = Literal["look", "whole", "more"]
"""How much is measured: few images, the usual number, or more for a narrower interval."""

Key = tuple[float, ...]
"""Orders candidates: the lowest is the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A way that could be built, and what is known of it before.

    `package` names what is built for it; ways that differ only in steps share it, and those of
    another size too where its axes are open. `known` are predictions, and what was measured
    elsewhere, by figure. `refused` says why it cannot be built.
    """

    way: Way
    package: str
    known: Mapping[str, Figure] = field(default_factory=dict)
    refused: str = ""

    @property
    def pixels(self) -> int:
        """Return how large its pictures are."""
        return self.way.width * self.way.height

    @property
    def float_model(self) -> FloatModel:
        """Return what it would be as the model itself, without a package."""
        return float_model_of(self.way)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatModel:
    """A model itself, in torch, at steps and a size: what a package of it can reach at best."""

    model: str
    steps: int
    width: int
    height: int
    guidance_stop: float = 1.0
    cache_interval: int = 1


def float_model_of(way: Way) -> FloatModel:
    """Return what draws as a candidate does, without a package."""
    return FloatModel(
        model=way.model,
        steps=way.steps,
        width=way.width,
        height=way.height,
        guidance_stop=way.guidance_stop,
        cache_interval=way.cache_interval,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The candidates, the limits, and what can be found out here.

    `obtainable` are the figures that an evaluation or a measurement can tell; of the others a
    prediction has to do. `prefer` are models, the best first. With `exhaustive` everything is
    tried, whatever is known; with `probes` the models themselves are judged first, in torch; with
    `finishes` a winner's figures are completed, limited or not. `originals` has the models that
    were pruned from another of them: both are held against that one's pictures, and compete.
    """

    candidates: tuple[Candidate, ...]
    limits: tuple[Limit, ...]
    evaluated: frozenset[str] = frozenset({"right", "psnr", "ssim"})
    measured: frozenset[str] = frozenset()
    prefer: tuple[str, ...] = ()
    exhaustive: bool = False
    probes: bool = True
    finishes: bool = False
    originals: Mapping[str, str] = field(default_factory=dict)

    @property
    def obtainable(self) -> frozenset[str]:
        """Return the figures that work here can tell; the size comes with the package."""
        return self.evaluated | self.measured | {"size"}

    @property
    def guards_quality(self) -> bool:
        """Return whether a limit is on the pictures."""
        return any(limit.kind.of_quality for limit in self.limits)

    @property
    def compares_models(self) -> bool:
        """Return whether one model may win over another: by preference, or by a common measure."""
        models = {self.original(candidate.way.model) for candidate in self.candidates}
        common = any(limit.kind.of_quality and not limit.kind.paired for limit in self.limits)
        return len(models) < 2 or bool(self.prefer) or common

    def group(self, candidate: Candidate) -> str:
        """Return which candidates compete with one: all, or those of its model and pruned ones."""
        return "" if self.compares_models else self.original(candidate.way.model)

    def original(self, model: str) -> str:
        """Return the model whose pictures are right for a model: its original, else itself."""
        return self.originals.get(model, model)

    def key(self, candidate: Candidate, size_bytes: float) -> Key:
        """Return where a candidate stands, if its package takes so many bytes."""
        way = candidate.way
        named = way.model if way.model in self.prefer else self.original(way.model)
        rank = self.prefer.index(named) if named in self.prefer else len(self.prefer)
        sign = 1.0 if self.guards_quality else -1.0
        effort = sign * way.steps, -sign * way.cache_interval
        return (float(rank), float(-candidate.pixels), size_bytes, *effort)

    def lowest_key(self, candidate: Candidate, size: Figure = UNKNOWN) -> Key:
        """Return where a candidate stands at best, by the lower bound of its size."""
        bound = size.low if size.low is not None else size.value
        return self.key(candidate, 0.0 if bound is None else bound)
