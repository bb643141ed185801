"""What may get worse, by how much: as people type it, and what breaks it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.compare.tolerances import (
    EXAMPLE,
    Tolerance,
    doubts,
    failures,
    parse_tolerances,
)
from edgegen.compare.values import SCHEMA_VERSION, Comparison, FigureChange, Side, WorsePicture
from edgegen.core.errors import ConfigError

SIDE = Side(name="a", model="m", target="onnx", recipe="fp32", manifest_sha256="00" * 32)


def changed(*changes: FigureChange) -> Comparison:
    return Comparison(
        schema_version=SCHEMA_VERSION, old=SIDE, new=SIDE, how="in a test", changes=changes
    )


def latency(change: float, half: float) -> FigureChange:
    return FigureChange(
        figure="latency",
        old=1.0,
        new=1.0 + change,
        change=change,
        low=change - half,
        high=change + half,
    )


def test_tolerances_are_read_with_their_units() -> None:
    assert parse_tolerances(f" {EXAMPLE} , right: .02, size:0% ,energy:7.5 %") == (
        Tolerance(figure="latency", value=0.05),
        Tolerance(figure="memory", value=0.02),
        Tolerance(figure="psnr", value=1.0),
        Tolerance(figure="ssim", value=0.01),
        Tolerance(figure="right", value=0.02),
        Tolerance(figure="size", value=0.0),
        Tolerance(figure="energy", value=0.075),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("latency", "how much"),
        ("latency:5", "latency:5%"),
        ("latency:5ms", "latency:5%"),
        ("latency:-5%", "no amount"),
        ("latency:nan%", "no amount"),
        ("latency:1e999%", "no amount"),
        ("psnr:1", "psnr:1dB"),
        ("ssim:1%", "ssim:0.01"),
        ("latncy:5%", "Did you mean 'latency'"),
        ("slowdown:5%", "no figure 'slowdown'"),
        ("latency:5%,latency:6%", "twice"),
    ],
)
def test_what_is_no_tolerance_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_tolerances(text)
    assert said in f"{refused.value} {refused.value.hint}"


FIVE = (Tolerance(figure="latency", value=0.05),)


@pytest.mark.parametrize(
    ("change", "half", "fails", "is_unsure"),
    [
        (0.10, 0.02, True, False),
        (0.06, 0.02, True, False),
        (0.04, 0.005, False, False),  # worse, within what is allowed
        (0.04, 0.02, False, True),
        (0.06, 0.10, False, True),  # may be nothing at all
        (-0.20, 0.02, False, False),
    ],
)
def test_only_a_change_beyond_doubt_and_beyond_the_tolerance_fails(
    change: float, half: float, fails: bool, is_unsure: bool
) -> None:
    found = changed(latency(change, half))
    assert bool(failures(found, FIVE)) is fails
    assert bool(doubts(found, FIVE)) is is_unsure
    assert not fails or "latency is worse by" in failures(found, FIVE)[0]


def test_quality_that_falls_fails_and_quality_that_rises_does_not() -> None:
    one = (Tolerance(figure="psnr", value=1.0),)
    for change, fails in ((-2.0, True), (-0.5, False), (2.0, False)):
        psnr = FigureChange(
            figure="psnr", old=30, new=30 + change, change=change, low=change, high=change
        )
        assert bool(failures(changed(psnr), one)) is fails


def test_what_is_unknown_never_passes() -> None:
    for found in (changed(), changed(FigureChange(figure="latency", why="nothing was measured"))):
        assert "latency is unknown, which is no pass" in failures(found, FIVE)[0]


def psnr(suite: str, change: float | None) -> FigureChange:
    return FigureChange(
        figure="psnr", suite=suite, old=30, new=30, change=change, low=change, high=change
    )


def test_each_suite_is_judged_and_named_by_itself() -> None:
    one = (Tolerance(figure="psnr", value=1.0),)
    assert failures(changed(psnr("known", 0.0), psnr("stress", -0.5)), one) == ()
    broken = failures(changed(psnr("known", 0.0), psnr("stress", -3.0)), one)
    assert broken == ("psnr (stress) is worse by 3 dB; 1 dB is allowed.",)
    (unknown,) = failures(changed(psnr("known", 0.0), psnr("stress", None)), one)
    assert "psnr (stress) is unknown" in unknown


def test_one_picture_that_shows_nothing_any_more_breaks_every_limit_of_quality() -> None:
    nothing = WorsePicture(
        suite="known", prompt="a dog", seed=1, old_psnr_db=30.0, new_psnr_db=None, fault="black"
    )
    found = replace(
        changed(psnr("known", 0.0), latency(0.0, 0.01)),
        worse_pictures=(nothing,),
        pictures=24,
        new_faults=1,
    )
    (broken,) = failures(found, (Tolerance(figure="psnr", value=9.0),))
    assert broken.startswith("1 of 24 pictures of NEW are lost")
    assert "'a dog' (known, seed 1) is black" in broken
    assert failures(found, FIVE) == ()
