"""Metrics against known values, and what is left out where a library is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegen.evaluate import metrics
from edgegen.evaluate.metrics import METRICS, missing, scores
from edgegen.scenes.catalogue import scenes
from edgegen.scenes.combinations import Split
from edgegen.scenes.render import render

PICTURE = render(next(iter(scenes(Split.HELD_OUT))))


def shifted(levels: int) -> NDArray[np.uint8]:
    return np.clip(PICTURE.astype(int) + levels, 0, 255).astype(np.uint8)


def test_equal_pictures_have_the_best_of_each_metric() -> None:
    found = scores(PICTURE, PICTURE)
    assert found["psnr"] is None
    for name in ("ssim", "flip"):
        assert found[name] == pytest.approx(METRICS[name].equal, abs=1e-6)


def test_psnr_of_one_level_is_that_of_the_formula() -> None:
    gray = np.full((16, 16, 3), 100, np.uint8)
    found = scores(gray, gray + np.uint8(1))
    assert found["psnr"] == pytest.approx(20 * math.log10(255))


def test_more_damage_is_worse_in_every_metric() -> None:
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 1, PICTURE.shape)
    less, more = (
        scores(PICTURE, np.clip(PICTURE + noise * std, 0, 255).astype(np.uint8)) for std in (5, 40)
    )
    for name, metric in METRICS.items():
        before, after = less[name], more[name]
        assert before is not None
        assert after is not None
        assert (before > after) is metric.higher_is_better, name


def test_ssim_is_that_of_its_authors_windows_by_hand() -> None:
    """One window of a picture of 11 × 11 pixels, computed from the paper's formula."""
    left = PICTURE[20:31, 20:31]
    right = shifted(-30)[20:31, 20:31]
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    total = 0.0
    for channel in range(3):
        x, y = left[..., channel].astype(float), right[..., channel].astype(float)
        mean_x, mean_y = (window * x).sum(), (window * y).sum()
        var_x, var_y = (window * x * x).sum() - mean_x**2, (window * y * y).sum() - mean_y**2
        covariance = (window * x * y).sum() - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        total += ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
            (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        )
    assert scores(left, right)["ssim"] == pytest.approx(total / 3, abs=1e-9)


def test_a_picture_that_is_too_small_for_ssim_has_the_others() -> None:
    assert set(scores(PICTURE[:8, :8], shifted(9)[:8, :8])) == {"psnr", "flip"}


def test_without_its_library_a_metric_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    assert set(scores(PICTURE, shifted(9))) == {"psnr"}
    assert [metric.name for metric in missing()] == ["ssim", "flip"]
