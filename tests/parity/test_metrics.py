from __future__ import annotations

import math

import numpy as np
import pytest
from edgegen_runner.metrics import cosine, is_constant, max_abs_error, psnr_db, worst_psnr_db

from edgegen.parity.compare import compare

RANDOM = np.random.default_rng(0)
REFERENCE = RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)


def test_psnr_is_that_of_its_definition() -> None:
    reference = np.array([0.0, 1.0, 2.0, 4.0], np.float32)
    value = reference + np.float32(0.04)
    # range 4, mean square error 0.0016: 10 log10(16 / 0.0016)
    assert psnr_db(reference, value) == pytest.approx(40, abs=1e-4)
    assert psnr_db(reference, value, peak=2) == pytest.approx(40 - 20 * math.log10(2), abs=1e-4)


def test_psnr_of_what_cannot_be_measured_is_an_extreme_and_never_nan() -> None:
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert psnr_db(ones, ones) == math.inf
    assert psnr_db(zeros, ones) == -math.inf
    for bad in (np.nan, np.inf):
        assert psnr_db(REFERENCE, np.full_like(REFERENCE, bad)) == -math.inf


def test_errors_are_summed_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    value = REFERENCE + np.float32(0.01) * RANDOM.standard_normal(REFERENCE.shape, np.float32)
    whole = psnr_db(REFERENCE, value)
    monkeypatch.setattr("edgegen_runner.metrics._BLOCK", 7)
    assert psnr_db(REFERENCE, value) == pytest.approx(whole, abs=1e-9)


def test_the_other_metrics_are_those_of_their_definitions() -> None:
    assert max_abs_error(np.array([1.0, -2.0]), np.array([1.5, -5.0])) == 3
    assert cosine(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == pytest.approx(math.sqrt(0.5))
    assert cosine(np.zeros(2), np.ones(2)) == 0
    assert is_constant(np.ones(4))
    assert not is_constant(np.array([1.0, 1.0, 1.1]))


def test_one_bad_sample_is_not_hidden_by_the_good_ones() -> None:
    value = REFERENCE.copy()
    value[1] += np.float32(0.1)
    assert worst_psnr_db(REFERENCE, value) < psnr_db(REFERENCE, value) - 2


def test_an_equal_output_passes_without_a_figure() -> None:
    check = compare("component", "it", REFERENCE, REFERENCE.copy(), threshold_db=100)
    assert (check.passed, check.psnr_db, check.max_abs_error, check.why) == (True, None, 0, "")


def test_the_threshold_decides() -> None:
    noise = np.float32(1e-3) * RANDOM.standard_normal(REFERENCE.shape, np.float32)
    check = compare("trajectory", "step 0", REFERENCE, REFERENCE + noise, threshold_db=60)
    assert check.passed
    assert check.psnr_db is not None
    stricter = compare(
        "trajectory", "step 0", REFERENCE, REFERENCE + noise, threshold_db=check.psnr_db + 0.1
    )
    assert not stricter.passed
    assert "is below" in stricter.why


@pytest.mark.parametrize("short_db", [1.0, 0.02, 0.0004, 1e-9])
def test_what_is_a_little_below_a_threshold_is_not_rounded_up_to_it(short_db: float) -> None:
    noise = np.float32(1e-2) * RANDOM.standard_normal(REFERENCE.shape, np.float32)
    found = compare("component", "it", REFERENCE, REFERENCE + noise, threshold_db=0).psnr_db
    assert found is not None
    wanted = found + short_db
    check = compare("component", "it", REFERENCE, REFERENCE + noise, threshold_db=wanted)
    assert not check.passed
    assert float(check.why.partition(" dB is below")[0]) < wanted


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (REFERENCE[:1], "the shape is"),
        (REFERENCE.reshape(2, 3, 64), "the shape is"),
        (REFERENCE.astype(np.float64), "the type is"),
        (np.where(REFERENCE > 2, np.nan, REFERENCE), "not finite"),
        (np.where(REFERENCE > 2, np.inf, REFERENCE), "not finite"),
        (np.full_like(REFERENCE, REFERENCE.mean()), "constant"),
        (np.zeros_like(REFERENCE), "constant"),
        (REFERENCE[::-1], "mixed up"),
        (REFERENCE[[0, 0]], "mixed up"),
        (REFERENCE * np.float32(1.5), "is below"),
        (REFERENCE + np.float32(0.5), "is below"),
        (REFERENCE.transpose(0, 1, 3, 2), "is below"),
    ],
)
def test_a_wrong_output_fails(value: np.ndarray, why: str) -> None:
    value = value if value.dtype == np.float64 and "type" in why else value.astype(np.float32)
    check = compare("component", "it", REFERENCE, value, threshold_db=30)
    assert not check.passed
    assert why in check.why


def test_an_output_that_should_be_constant_and_is_not_fails() -> None:
    zeros = np.zeros((1, 4), np.float32)
    noisy = zeros + np.arange(4, dtype=np.float32)
    check = compare("component", "it", zeros, noisy, threshold_db=30)
    assert (check.passed, check.psnr_db) == (False, None)
    assert "the reference has no range to measure by" in check.why


def test_an_image_is_measured_by_its_full_range() -> None:
    dark = np.full((1, 3, 4, 4), -1, np.float32)
    value = dark.copy()
    value[0, 0, 0, 0] += np.float32(2 / 255)
    check = compare("image", "pixels", dark, value, threshold_db=45)
    assert check.passed
    assert check.psnr_db == pytest.approx(20 * math.log10(255) + 10 * math.log10(48), abs=1e-3)
