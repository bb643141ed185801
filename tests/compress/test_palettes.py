"""Palettes: as near as k-means gets, exactly where there is room for every number."""

from __future__ import annotations

import numpy as np
import pytest

from edgegen.compress.palettes import centres_of, palettize

RANDOM = np.random.default_rng(3)


def error(array: np.ndarray, values: np.ndarray) -> float:
    return float(np.sum((array.astype(np.float64) - values.astype(np.float64)) ** 2))


def optimum(values: np.ndarray, weights: np.ndarray, count: int) -> float:
    """Return the smallest error that `count` centres can have, by dynamic programming."""
    total = np.concatenate([[0.0], np.cumsum(weights)])
    first = np.concatenate([[0.0], np.cumsum(weights * values)])
    second = np.concatenate([[0.0], np.cumsum(weights * values**2)])

    def cost(start: np.ndarray, end: int) -> np.ndarray:
        mass = total[end] - total[start]
        sums = first[end] - first[start]
        return second[end] - second[start] - sums**2 / np.maximum(mass, 1e-300)

    best = np.full(len(values) + 1, np.inf)
    best[0] = 0.0
    for _ in range(count):
        following = np.full(len(values) + 1, np.inf)
        for end in range(1, len(values) + 1):
            starts = np.arange(end)
            following[end] = np.min(best[:end] + cost(starts, end))
        best = np.minimum(following, best)
    return float(best[-1])


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "two humps"])
def test_a_palette_is_within_a_few_percent_of_the_best_that_there_is(bits: int, kind: str) -> None:
    drawn = {
        "normal": RANDOM.normal(size=700),
        "heavy tails": RANDOM.standard_t(4, size=700),
        "two humps": np.concatenate([RANDOM.normal(-3, 0.3, 300), RANDOM.normal(2, 1, 400)]),
    }[kind].astype(np.float16)
    values, weights = np.unique(drawn, return_counts=True)
    best = optimum(values.astype(np.float64), weights.astype(np.float64), 1 << bits)
    assert error(drawn, palettize(drawn, bits).values) <= 1.03 * best


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_each_number_gets_the_nearest_of_the_palette(bits: int) -> None:
    array = RANDOM.normal(size=(30, 40)).astype(np.float16)
    palette = palettize(array, bits)
    assert palette.numbers.shape == (1 << bits,)
    assert palette.indices.shape == array.shape
    assert (np.diff(palette.numbers.astype(float)) >= 0).all()
    distances = np.abs(array[..., None].astype(float) - palette.numbers.astype(float))
    np.testing.assert_allclose(
        np.abs(array.astype(float) - palette.values.astype(float)), distances.min(axis=-1)
    )


def test_numbers_that_fit_into_the_palette_stay_as_they_are() -> None:
    array = RANDOM.choice(np.array([-2.5, 0.0, 1e-7, 6.5e4], np.float16), (50, 3))
    np.testing.assert_array_equal(palettize(array, 2).values, array)
    np.testing.assert_array_equal(palettize(array, 8).values, array)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_numbers_that_lie_in_few_places_make_a_palette(bits: int) -> None:
    near = RANDOM.normal(0, 1e-6, 3000)
    array = np.concatenate([near, near + 6e4, [1.0, -6e4]]).astype(np.float16)
    palette = palettize(array, bits)
    assert np.isfinite(palette.numbers.astype(np.float32)).all()
    distance = np.abs(array.astype(float) - palette.values.astype(float))
    assert bits == 1 or distance.max() < 1.1


def test_one_number_alone_makes_a_palette() -> None:
    array = np.full((4, 4), 0.25, np.float16)
    np.testing.assert_array_equal(palettize(array, 4).values, array)


def test_more_bits_are_never_worse() -> None:
    array = RANDOM.normal(size=5000).astype(np.float16)
    errors = [error(array, palettize(array, bits).values) for bits in (1, 2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)


def test_centres_are_means_of_what_is_nearest_to_them() -> None:
    values = np.sort(RANDOM.normal(size=400))
    weights = RANDOM.integers(1, 9, 400).astype(float)
    centres = centres_of(values, weights, 8)
    nearest = np.abs(values[:, None] - centres).argmin(axis=1)
    for index, centre in enumerate(centres):
        own = nearest == index
        mean = np.average(values[own], weights=weights[own])
        assert abs(mean - centre) < 1e-3
