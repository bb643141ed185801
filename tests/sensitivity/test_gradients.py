"""Gradients of streamed weights are those of weights in memory."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from edgegen.sensitivity.gradients import DifferentiableWeights, blocks_of, gradient_path

SEED = 3


class Network(torch.nn.Module):
    """A convolution and a linear layer whose weight is used twice, with a norm in between."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.GroupNorm(2, 8)
        self.linear = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        features = self.norm(self.convolution(x)).movedim(1, -1)
        return (self.linear(torch.tanh(self.linear(features))).movedim(-1, 1)[:, :3],)


def drawn(network: torch.nn.Module) -> torch.Tensor:
    """Return what two steps make, each of which runs the network."""
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(SEED))
    for _ in range(2):
        x = x - 0.1 * network(x)[0]
    return (x**3).sum()


@pytest.fixture
def plain() -> torch.nn.Module:
    torch.manual_seed(SEED)
    return Network()


def streamed(plain: torch.nn.Module) -> tuple[torch.nn.Module, DifferentiableWeights]:
    arrays = {name: value.detach().numpy().copy() for name, value in plain.named_parameters()}
    network, weights = copy.deepcopy(plain), DifferentiableWeights()
    weights.add(network, component="unet", names=arrays.keys(), read=arrays.__getitem__)
    return network, weights


@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "run again"])
@pytest.mark.parametrize("keeps", [False, True], ids=["read", "in memory"])
def test_they_are_those_of_torch(
    plain: torch.nn.Module, tmp_path: Path, checkpointed: bool, keeps: bool
) -> None:
    drawn(plain).backward()
    network, weights = streamed(plain)
    if checkpointed:
        weights.checkpointed(network)
    if keeps:
        assert weights.keep_small()
    with weights.recorded(tmp_path, lambda component, name: True):
        with weights.differentiated():
            projected = drawn(network)
        projected.backward()
    for name in ("convolution.weight", "linear.weight"):
        found = np.load(gradient_path(tmp_path, "unet", name))
        expected = plain.get_parameter(name).grad
        assert expected is not None
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert len(list(tmp_path.iterdir())) == 2


class Block(torch.nn.Module):
    """Returns its states and, once more, the last of them, as a level of a UNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(6, 6)
        self.second = torch.nn.Linear(6, 6)

    def forward(
        self, x: torch.Tensor, before: tuple[torch.Tensor, ...] = ()
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        one = torch.tanh(self.first(x + sum(before)))
        two = torch.tanh(self.second(one))
        return two, (one, two)


class Levels(torch.nn.Module):
    """Two blocks in a list within a part, the second of which takes the states of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.part = torch.nn.Module()
        self.part.blocks = torch.nn.ModuleList([Block(), Block()])
        self.last = torch.nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        value, states = self.part.blocks[0](x.movedim(1, -1).repeat(1, 1, 1, 2))
        value, _ = self.part.blocks[1](value, before=states)
        return (self.last(value).movedim(-1, 1),)


def test_blocks_that_run_again_within_a_network_that_does_change_nothing(tmp_path: Path) -> None:
    torch.manual_seed(SEED)
    plain = Levels()
    drawn(plain).backward()
    network, weights = streamed(plain)
    weights.checkpointed(network)
    blocks = list(blocks_of(network))
    assert len(blocks) == 2
    runs = 0

    def count(*_: object) -> None:
        nonlocal runs
        runs += 1

    blocks[0].first.register_forward_hook(count)
    for block in blocks:
        weights.checkpointed(block)
    with weights.recorded(tmp_path, lambda component, name: True):
        with weights.differentiated():
            projected = drawn(network)
        projected.backward()
    assert runs == 2 * 3  # drawing, the network's own second run, and the block's
    for name, parameter in plain.named_parameters():
        if parameter.ndim > 1:
            found = np.load(gradient_path(tmp_path, "unet", name))
            assert parameter.grad is not None
            np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_no_weight_stays_in_memory_between_its_uses(plain: torch.nn.Module, tmp_path: Path) -> None:
    network, weights = streamed(plain)
    largest = max(4 * it.numel() for it in plain.parameters())
    with weights.recorded(tmp_path, lambda component, name: True):
        with weights.differentiated():
            projected = drawn(network)
            live_bytes = weights.live_bytes
        projected.backward()
    norms = 2 * 2 * 4 * 8  # of each step: a norm's weights are read twice
    assert live_bytes <= norms
    assert weights.peak_bytes <= largest + norms + 3 * 4 * 8
    assert weights.live_bytes == 0


def test_only_wanted_gradients_are_written(plain: torch.nn.Module, tmp_path: Path) -> None:
    network, weights = streamed(plain)
    with weights.recorded(tmp_path, lambda component, name: name.startswith("linear")):
        with weights.differentiated():
            projected = drawn(network)
        projected.backward()
    assert [path.name for path in tmp_path.iterdir()] == ["unet.linear.weight.npy"]
