"""The best assignment within a size, against trying everything."""

from __future__ import annotations

import itertools
import random

import pytest

from edgegen.sensitivity import assign as module
from edgegen.sensitivity.assign import Choice, assign, smallest_bytes

Layers = list[list[Choice]]


def random_layers(seed: int, layers: int, choices: int) -> Layers:
    chance = random.Random(seed)
    found = []
    for _ in range(layers):
        scale, weights = 10 ** chance.uniform(-6, -2), chance.randint(100, 5000)
        found.append(
            [
                Choice(
                    name=f"{bits}",
                    size_bytes=weights * bits // 8 + chance.randint(0, 20),
                    loss=scale * 4.0**-bits * chance.uniform(0.5, 2),
                )
                for bits in range(1, choices + 1)
            ]
        )
    return found


def tried(layers: Layers, limit_bytes: int) -> float:
    return min(
        sum(choice.loss for choice in chosen)
        for chosen in itertools.product(*layers)
        if sum(choice.size_bytes for choice in chosen) <= limit_bytes
    )


@pytest.mark.parametrize("seed", range(40))
def test_it_is_as_good_as_trying_everything(seed: int) -> None:
    layers = random_layers(seed, 6, 4)
    least = smallest_bytes(layers)
    most = sum(choices[-1].size_bytes for choices in layers)
    limit = least + (most - least) * (seed % 10) // 10
    found = assign(layers, limit)
    assert found.size_bytes <= limit
    assert found.loss == pytest.approx(tried(layers, limit), rel=1e-9)
    assert found.gap == 0


def test_many_layers_are_assigned_to_the_byte_with_no_gap() -> None:
    layers = random_layers(1, 400, 8)
    limit = smallest_bytes(layers) * 4
    found = assign(layers, limit)
    assert limit - found.size_bytes < limit / 1000
    assert found.gap == 0


def test_where_states_are_cut_the_bound_of_the_relaxation_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layers = random_layers(2, 9, 4)
    limit = smallest_bytes(layers) * 2
    best = assign(layers, limit)
    monkeypatch.setattr(module, "MOST_STATES", 1)
    found = assign(layers, limit)
    assert found.bound <= best.loss <= found.loss
    assert found.gap < 0.5


def test_a_limit_above_everything_takes_the_lowest_loss() -> None:
    layers = random_layers(3, 5, 4)
    found = assign(layers, 10**9)
    assert found.loss == pytest.approx(sum(min(it.loss for it in choices) for choices in layers))


def test_a_limit_below_the_smallest_is_refused() -> None:
    layers = random_layers(4, 3, 3)
    with pytest.raises(ValueError, match="within the limit"):
        assign(layers, smallest_bytes(layers) - 1)
