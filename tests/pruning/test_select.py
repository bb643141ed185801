"""What is cut: the least loss within the weights that may stay."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError
from edgegen.networks.pruned import Block, Layer, Slice
from edgegen.pruning.scores import Scores, Structure
from edgegen.pruning.select import select
from tests.pruning.models import made_up_scores


def layer(path: str, kind: str, units: int) -> Layer:
    out = f"{path}.out.weight"
    return Layer(
        path=path,
        kind=kind,  # type: ignore[arg-type]  # a literal
        units=units,
        slices=(Slice(f"{path}.in.weight", 0), Slice(out, 1)),
        out=out,
    )


STRUCTURE = Structure(
    parameters={
        "a.x.in.weight": (8, 3),
        "a.x.out.weight": (3, 8),
        "a.y.in.weight": (6, 5),
        "a.y.out.weight": (5, 6),
        "a.norm.weight": (7,),
        "a.short.weight": (10,),
        "b.in.weight": (12, 2),
        "b.out.weight": (2, 12),
        "ends.weight": (40,),
    },
    layers={
        "a.x": layer("a.x", "heads", 4),
        "a.y": layer("a.y", "feed_forward", 6),
        "b": layer("b", "groups", 3),
    },
    blocks={"a": Block(path="a", ends=("a.y.out.weight",), left=("a.short.weight",))},
)


def scores(block: float) -> Scores:
    return replace(made_up_scores(STRUCTURE, seed=3), blocks={"a": block})


def brute_force(given: Scores, limit: int) -> float:
    """Return the least loss of all cuts within a number of weights."""
    least = float("inf")
    ways = [range(1, it.units + 1) for it in STRUCTURE.layers.values()]
    for counts in itertools.product(*ways):
        for dropped in (False, True):
            numbers = STRUCTURE.numbers - (STRUCTURE.block_numbers("a") if dropped else 0)
            loss = given.blocks["a"] if dropped else 0.0
            for (path, it), count in zip(STRUCTURE.layers.items(), counts, strict=True):
                if dropped and path != "b":
                    continue
                numbers -= (it.units - count) * STRUCTURE.unit_numbers(path)
                loss += sum(sorted(given.units[path])[: it.units - count])
            if numbers <= limit:
                least = min(least, loss)
    return least


def test_sizes_are_counted_as_the_parameters_have_them() -> None:
    assert STRUCTURE.numbers == 24 + 24 + 30 + 30 + 7 + 10 + 24 + 24 + 40
    assert STRUCTURE.unit_numbers("a.x") == 12
    assert STRUCTURE.block_numbers("a") == 24 + 24 + 30 + 30 + 7


@pytest.mark.parametrize("share", [1.0, 0.9, 0.75, 0.6, 0.5])
@pytest.mark.parametrize("block", [0.2, 2.0, 20.0])
def test_what_stays_fits_and_nearly_nothing_loses_less(share: float, block: float) -> None:
    given = scores(block)
    kept = select(given, share)
    limit = int(STRUCTURE.numbers * share)
    assert kept.numbers <= limit
    best = brute_force(given, limit)
    assert best <= kept.loss + 1e-9
    assert kept.loss <= 1.6 * best + 1e-9  # layers of a block are cut in one order, by their rates
    if share == 1.0:
        assert kept.loss == 0
        assert not kept.units
        assert not kept.dropped


def test_a_block_that_hardly_counts_goes_as_a_whole_where_blocks_may() -> None:
    given = scores(1e-6)
    assert select(given, 0.6).dropped == ("a",)
    assert select(given, 0.6, ("heads", "feed-forward", "resnets")).dropped == ()


def test_the_units_that_count_most_stay() -> None:
    given = scores(50.0)
    kept = select(given, 0.7)
    for path, units in kept.units.items():
        losses = given.units[path]
        gone = set(range(len(losses))) - set(units)
        assert gone
        assert min(losses[it] for it in units) >= max(losses[it] for it in gone)


def test_only_the_kinds_that_may_be_cut_are() -> None:
    kept = select(scores(1e-6), 0.9, ("resnets",))
    assert {*kept.units} == {"b"}


def test_a_share_that_cannot_be_is_refused_with_the_least_that_can() -> None:
    with pytest.raises(ConfigError, match="At least") as caught:
        select(scores(50.0), 0.1, ("heads",))
    assert "--to 0." in caught.value.hint
    assert "--what" in caught.value.hint
