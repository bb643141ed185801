"""Losses from gradients, against arithmetic done by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgegen.compress.codecs import CODECS
from edgegen.sensitivity.losses import losses_of, stored_error

LOSSY = {name: codec for name, codec in CODECS.items() if codec.bits <= 8}


def written(folder: Path, gradients: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{index}.npy" for index in range(len(gradients))]
    for path, gradient in zip(paths, gradients, strict=True):
        np.save(path, gradient.astype(np.float32))
    return paths


def test_of_one_linear_layer_the_loss_is_the_mean_squared_error_itself(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    weight = chance.standard_normal((24, 32)).astype(np.float32)
    inputs = chance.standard_normal((5, 32))
    signs = chance.choice([-1.0, 1.0], (5, 24))
    gradients = written(
        tmp_path, [np.outer(sign, x) for sign, x in zip(signs, inputs, strict=True)]
    )
    found = losses_of(weight, gradients, values=24, codecs=LOSSY)
    for name, codec in LOSSY.items():
        moved = inputs @ stored_error(weight, codec).T
        assert found[name] == pytest.approx(np.mean(moved**2), rel=1e-4), name


def test_fewer_bits_of_a_kind_cost_more(tmp_path: Path) -> None:
    chance = np.random.default_rng(2)
    weight = chance.standard_normal((16, 8, 3, 3)).astype(np.float32)
    gradients = written(tmp_path, [chance.standard_normal(weight.shape) for _ in range(3)])
    found = losses_of(weight, gradients, values=10)
    palettes = [found[f"palette{bits}"] for bits in (8, 6, 4, 3, 2, 1)]
    assert palettes == sorted(palettes)
    assert found["float32"] == 0
    assert 0 < found["float16"] < found["int8"]


def test_a_weight_that_nothing_used_costs_nothing(tmp_path: Path) -> None:
    weight = np.ones((4, 4), np.float32)
    found = losses_of(weight, [tmp_path / "missing.npy"], values=10, codecs=LOSSY)
    assert set(found.values()) == {0.0}
