"""Chooses what is cut: the smallest loss within a number of weights, by integer programming.

Of each layer the units with the lowest losses go first. How far the layers of a block are cut, or
whether the block goes as a whole, are the block's choices; over all blocks the best combination is
found as that of storages is (`sensitivity/assign.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.errors import ConfigError
from edgegen.networks.pruned import Cuts, Kind
from edgegen.pruning.scores import Scores, Structure
from edgegen.sensitivity.assign import Choice, assign, smallest_bytes

What = Literal["heads", "feed-forward", "resnets", "blocks"]
WHAT: tuple[What, ...] = ("heads", "feed-forward", "resnets", "blocks")
_KINDS: Mapping[Kind, What] = {
    "heads": "heads",
    "feed_forward": "feed-forward",
    "groups": "resnets",
}
STAGES = 32
"""Of how many parts of a layer's units one goes at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What stays of a network: the units of layers that are cut, by path, and no `dropped` block.

    `loss` is that of all cuts together, `numbers` how many weights stay.
    """

    units: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    loss: float = 0.0
    numbers: int = 0

    def cuts(self, structure: Structure) -> Cuts:
        """Return what the network's config says of it."""
        kinds: dict[str, dict[str, int]] = {kind: {} for kind in _KINDS}
        for path, units in self.units.items():
            kinds[structure.layers[path].kind][path] = len(units)
        return Cuts(dropped=self.dropped, **kinds)


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to cut a block or a layer that is in none: what stays, and what that costs."""

    numbers: int
    loss: float
    kept: Mapping[str, int]
    dropped: str | None = None


def select(scores: Scores, share: float, what: Sequence[What] = WHAT) -> Kept:
    """Return what stays of a denoiser, so that at most `share` (0…1) of its weights does.

    Raises ConfigError where more has to stay.
    """
    structure = scores.structure
    parts = _parts(structure, with_blocks="blocks" in what)
    ways = [_ways(scores, block, layers, what) for block, layers in parts]
    cuttable = sum(max(way.numbers for way in each) for each in ways)
    fixed = structure.numbers - cuttable
    limit = int(structure.numbers * share) - fixed
    choices = [
        [Choice(name=str(place), size_bytes=way.numbers, loss=way.loss) for place, way in items]
        for each in ways
        for items in [list(enumerate(each))]
    ]
    least = smallest_bytes(choices)
    if least > limit:
        lowest = (least + fixed) / structure.numbers
        raise ConfigError(
            f"At least {lowest:.1%} of the weights of {scores.component} have to stay.",
            hint=f"Write --to {min(1.0, lowest + 0.005):.2f}"
            + ("." if set(what) == {*WHAT} else f", or let more be cut: --what {','.join(WHAT)}."),
        )
    assigned = assign(choices, limit)
    taken = [each[int(choice.name)] for each, choice in zip(ways, assigned.chosen, strict=True)]
    kept = {path: count for way in taken for path, count in way.kept.items()}
    return Kept(
        units={
            path: _best_units(scores.units[path], count)
            for path, count in kept.items()
            if count < structure.layers[path].units
        },
        dropped=tuple(way.dropped for way in taken if way.dropped is not None),
        loss=assigned.loss,
        numbers=assigned.size_bytes + fixed,
    )


def _parts(structure: Structure, *, with_blocks: bool) -> list[tuple[str | None, list[str]]]:
    """Return each block that may be dropped with the layers in it, and the layers in none."""
    blocks = structure.blocks if with_blocks else {}
    parts: dict[str, tuple[str | None, list[str]]] = {path: (path, []) for path in blocks}
    for layer in structure.layers:
        owner = next((it for it in blocks if layer == it or layer.startswith(f"{it}.")), None)
        if owner is None:
            parts[layer] = (None, [layer])
        else:
            parts[owner][1].append(layer)
    return list(parts.values())


def _ways(
    scores: Scores, block: str | None, layers: Sequence[str], what: Sequence[What]
) -> list[_Way]:
    """Return the ways to cut a block: its layers by their rates, the best one first."""
    structure = scores.structure
    kept = {path: structure.layers[path].units for path in layers}
    numbers = sum(structure.unit_numbers(path) * count for path, count in kept.items())
    if block is not None:
        numbers = structure.block_numbers(block)
    ways = [_Way(numbers, 0.0, dict(kept))]
    steps = [step for path in layers for step in _steps(scores, path, what)]
    loss = 0.0
    for step in sorted(steps, key=lambda it: it.rate):
        kept[step.path] -= step.units
        numbers -= step.numbers
        loss += step.loss
        ways.append(_Way(numbers, loss, dict(kept)))
    if block is not None:
        ways.append(_Way(0, scores.blocks[block], {}, block))
    return ways


@dataclass(frozen=True, slots=True)
class _Step:
    """So many units of a layer that go together; `rate` is the price of a weight, never falling."""

    path: str
    units: int
    numbers: int
    loss: float
    rate: float


def _steps(scores: Scores, path: str, what: Sequence[What]) -> list[_Step]:
    layer = scores.structure.layers[path]
    if _KINDS[layer.kind] not in what:
        return []
    losses = sorted(scores.units[path])
    each = scores.structure.unit_numbers(path)
    size = -(-layer.units // STAGES)
    steps: list[_Step] = []
    for start in range(0, layer.units - size, size):  # the last ones stay
        loss = sum(losses[start : start + size])
        steps.append(_Step(path, size, size * each, loss, loss / (size * each)))
    return steps


def _best_units(losses: Sequence[float], count: int) -> tuple[int, ...]:
    """Return the places of the units with the highest losses, in their order."""
    ordered = sorted(range(len(losses)), key=lambda it: (-losses[it], it))
    return tuple(sorted(ordered[:count]))
