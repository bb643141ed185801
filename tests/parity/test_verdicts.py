"""The verdict on one array, which the host's parity gate and a device's golden case share."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from edgegen_runner.compare import compare
from edgegen_runner.metrics import IMAGE_PEAK, psnr_db
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgegen.parity.compare import compare as checked

THRESHOLD_DB = 60.0
SHAPES = ((), (1,), (7,), (0,), (2, 0), (0, 3), (1, 5), (3, 4), (2, 3, 4, 4))
DTYPES = ("float32", "int64", "float64")
CHANGES = ("equal", "near", "far", "nan", "infinite", "constant", "huge", "swapped")


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Any, Any]:
    """Draw a reference and a value, in which each sample of a batch may be changed otherwise."""
    shape = draw(st.sampled_from(SHAPES))
    numbers = np.random.default_rng(draw(st.integers(0, 9)))
    scale = draw(st.sampled_from((0.0, 1e-30, 1.0, 1e30)))
    reference = np.asarray(numbers.standard_normal(shape) * scale)
    if draw(st.booleans()):
        reference = np.full(shape, scale)
    value = np.array(reference)
    for part in value if value.ndim > 1 else [value]:
        change = draw(st.sampled_from(CHANGES))
        if part.size == 0 or change == "equal":
            continue
        if change in ("near", "far", "swapped"):
            part += numbers.standard_normal(part.shape) * scale * {"near": 1e-4}.get(change, 1.0)
        elif change == "constant":
            part[...] = part.reshape(-1)[0]
        else:
            filler = {"nan": np.nan, "infinite": -np.inf, "huge": 1e38}[change]
            part.reshape(-1)[:1] = filler
    dtype = draw(st.sampled_from(DTYPES))
    with np.errstate(invalid="ignore", over="ignore"):
        value = value.astype(draw(st.sampled_from((dtype, "float32"))))
        reference = reference.astype(dtype)
    if draw(st.integers(0, 9)) == 0:
        value = value[..., None]
    return reference, value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(pair=arrays(), layer=st.sampled_from(("component", "image")))
@example(pair=(np.zeros(3, "float32"), np.zeros(3, "float32")), layer="component")
@example(pair=(np.full((1, 2), np.nan, "float32"), np.ones((1, 2), "float32")), layer="component")
def test_what_passes_is_finite_of_the_same_kind_and_near_in_every_sample(
    pair: tuple[Any, Any], layer: str
) -> None:
    reference, value = pair
    peak = IMAGE_PEAK if layer == "image" else None
    with np.errstate(all="ignore"):
        verdict = compare(reference, value, THRESHOLD_DB, peak=peak)
    assert verdict.psnr_db is None or math.isfinite(verdict.psnr_db)
    if not verdict.passed:
        return
    assert (value.shape, value.dtype) == (reference.shape, reference.dtype)
    assert np.isfinite(value).all()
    samples = zip(reference, value, strict=True) if value.ndim > 1 else [(reference, value)]
    for left, right in samples:
        assert np.array_equal(left, right) or psnr_db(left, right, peak=peak) >= THRESHOLD_DB


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pair=arrays(), layer=st.sampled_from(("component", "image")))
def test_the_parity_gate_takes_the_verdict_of_the_runner(
    pair: tuple[Any, Any], layer: Literal["component", "image"]
) -> None:
    peak = IMAGE_PEAK if layer == "image" else None
    with np.errstate(all="ignore"):
        check = checked(layer, "x", *pair, threshold_db=THRESHOLD_DB)
        said = compare(*pair, THRESHOLD_DB, peak=peak).fields()
    assert {name: getattr(check, name) for name in said} == said


RISING = np.linspace(-1, 1, 100, dtype=np.float32)
PAIR = np.stack([RISING, RISING])


@pytest.mark.parametrize(
    ("reference", "value", "why"),
    [
        (RISING, RISING, ""),
        (RISING, RISING + np.float32(1e-5), ""),
        (RISING, RISING + 1, "dB is below"),
        (RISING, RISING * np.float32("nan"), "not finite"),
        (RISING, RISING[:50], "the shape"),
        (RISING, RISING.astype("float64"), "the type"),
        (RISING, np.ones_like(RISING), "constant"),
        (RISING * 0, RISING, "no range"),
        (PAIR, PAIR + np.array([[0], [0.01]], "float32"), "dB is below"),
    ],
)
def test_a_verdict_says_why(reference: Any, value: Any, why: str) -> None:
    verdict = compare(reference, value, THRESHOLD_DB)
    assert verdict.passed == (why == "")
    assert why in verdict.why


def test_one_sample_decides_where_the_mean_of_the_batch_would_pass() -> None:
    value = np.repeat(PAIR, 50, axis=0)
    reference = value.copy()
    value[7] += np.float32(0.003)  # 56 dB; all the others are equal, and the mean is 76 dB
    assert not compare(reference, value, THRESHOLD_DB).passed
