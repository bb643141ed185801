"""The runner's random numbers, held against torch's CPU generator."""

import random

import numpy as np
import pytest
import torch
from edgegen_runner.torch_random import TorchGenerator
from hypothesis import given, settings
from hypothesis import strategies as st

TOLERANCE = 1e-6
SHAPES: tuple[tuple[int, ...], ...] = (
    *(
        (),
        (0,),
        (1,),
        (3,),
        (15,),
        (16,),
        (17,),
        (31,),
        (32,),
        (33,),
        (1, 4, 64, 64),
        (1, 4, 8, 12),
    ),
    *(
        (2, 3, 5, 7),
        (1, 16, 1),
        (1000,),
        (3, 4, 0, 2),
        (2, 4, 9, 9),
        (7, 1),
        (1, 1, 1, 1),
        (40_009,),
    ),
)
EDGE_SEEDS = (
    *(0, 1, 42, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 7, 2**53 + 1, 2**63, 2**64 - 1),
    *(-1, -42, -(2**31), -(2**32), -(2**63)),
)


def assert_same_stream(seed: int, shapes: list[tuple[int, ...]]) -> None:
    ours, theirs = TorchGenerator(seed), torch.Generator("cpu").manual_seed(seed)
    for shape in shapes:
        drawn = ours.randn(shape)
        expected = torch.randn(shape, generator=theirs, dtype=torch.float32).numpy()
        assert drawn.dtype == np.float32
        assert drawn.shape == expected.shape
        np.testing.assert_allclose(drawn, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_first_draw_is_torchs(shape: tuple[int, ...]) -> None:
    for seed in range(20):
        assert_same_stream(seed, [shape])


@pytest.mark.parametrize("seed", EDGE_SEEDS)
def test_seed_of_any_sign_and_size_is_torchs(seed: int) -> None:
    assert_same_stream(seed, [(1, 4, 16, 16), (3,), (17,)])


def test_mixed_calls_continue_the_stream_as_torch_does() -> None:
    source = random.Random(0)
    for _ in range(150):
        seed = source.randrange(-(2**63), 2**64)
        assert_same_stream(seed, source.choices(SHAPES, k=10))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(-(2**63), 2**64 - 1),
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=12),
)
def test_any_sequence_of_sizes_is_torchs(seed: int, sizes: list[int]) -> None:
    assert_same_stream(seed, [(size,) for size in sizes])


def test_odd_number_of_scalars_leaves_one_for_a_later_call() -> None:
    # The kept normal outlives a large call in between, which draws from the twister alone.
    assert_same_stream(3, [(1,), (64,), (1,), (2,), (16,), (1,), (1,)])


def test_extreme_values_stay_within_the_tolerance() -> None:
    assert_same_stream(1, [(3_000_003,)])


def test_generators_do_not_share_state() -> None:
    first, second = TorchGenerator(5), TorchGenerator(5)
    first.randn((100,))
    np.testing.assert_array_equal(second.randn((20,)), TorchGenerator(5).randn((20,)))


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seed_that_torch_refuses_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="Overflow"):
        torch.Generator("cpu").manual_seed(seed)
    with pytest.raises(ValueError, match="seed"):
        TorchGenerator(seed)


def test_negative_axis_is_refused() -> None:
    with pytest.raises(ValueError, match="negative axis"):
        TorchGenerator(0).randn((-4, -4))
