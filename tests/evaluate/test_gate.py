"""The gate of quality: what fails, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError, ParityError
from edgegen.core.figures import Limit
from edgegen.core.recipe import Quality
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.evaluate.gate import (
    gate,
    recipe_limits,
    require_quality,
    with_defaults,
    without_limits,
)
from tests.evaluate.results import evaluation, result, results

NEAR = results([40.0, 41.0, 42.0, 43.0])
PSNR = Limit(figure="psnr", value=30.0)


def test_pictures_that_are_near_pass() -> None:
    assert gate(evaluation(NEAR), [PSNR]) == ()


def test_a_mean_whose_interval_reaches_below_the_limit_does_not_pass() -> None:
    (broken,) = gate(evaluation(results([31.0, 45.0])), [PSNR])
    assert broken.limit == PSNR
    assert "may be" in broken.why


def test_an_unknown_figure_never_passes() -> None:
    wanted = [Limit(figure="ssim", value=0.1), Limit(figure="right", value=0.1)]
    assert [it.limit for it in gate(evaluation(NEAR), wanted)] == wanted


def test_a_picture_that_shows_nothing_fails_without_any_limit() -> None:
    lost = result(12.0, prompt="lost", fault="noise")
    (broken,) = gate(evaluation([*NEAR, lost]), [])
    assert broken.limit is None
    assert "1 of 5 pictures show nothing (noise)" in broken.why


def test_a_picture_that_is_black_in_torch_too_is_no_fault_of_the_package() -> None:
    night = result(prompt="night", fault="black", reference_fault="black")
    assert gate(evaluation([*NEAR, night]), [PSNR]) == ()


def test_a_picture_beside_a_threshold_and_near_its_reference_is_not_lost() -> None:
    assert not result(31.0, fault="noise").is_lost
    assert not result(51.0, fault="black").is_lost
    assert not result(None, fault="noise").is_lost
    assert not result(12.0, fault="constant", reference_fault="black").is_lost
    assert result(29.0, fault="noise").is_lost
    assert result(49.0, fault="black").is_lost
    assert result(12.0, fault="constant", reference_fault="noise").is_lost
    assert result(31.0, fault="not finite").is_lost
    assert result(31.0, fault="not finite", reference_fault="black").is_lost
    assert not result(scores={}, fault="not finite", reference_fault="not finite").is_lost


def test_a_picture_of_another_size_fails_without_any_limit_and_is_named() -> None:
    found = evaluation([*NEAR, result(prompt="cut off", scores={})])
    (broken,) = gate(found, [])
    assert "1 of 5 pictures could not be compared" in broken.why
    assert [it.limit for it in gate(found, [PSNR])] == [None, PSNR]
    with pytest.raises(ParityError, match=r"Worst: 'cut off', seed 0 \(not compared\)"):
        require_quality(found, gate(found, []), "out/x")


def test_the_error_names_what_failed_and_the_worst_prompts() -> None:
    found = evaluation([*results([12.0, 14.0]), result(9.0, prompt="the very worst")])
    with pytest.raises(ParityError, match=r"out/x .*PSNR is .* 30.0 dB.*'the very worst'") as error:
        require_quality(found, gate(found, [PSNR]), "out/x")
    assert error.value.exit_code == 4


def test_a_limit_of_a_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="--max-latency"):
        gate(evaluation(NEAR), [Limit(figure="latency", value=1.0)])


def test_the_recipes_limits_are_for_a_package_in_its_references_steps() -> None:
    recipe = replace(
        load_recipe("fp16", load_target("onnx")), quality=Quality(psnr_db=20.0, ssim=0.8)
    )
    same = evaluation(NEAR)
    found = recipe_limits(recipe, same)
    assert [(it.figure, it.value) for it in found] == [("psnr", 20.0), ("ssim", 0.8)]
    assert recipe_limits(recipe, replace(same, steps=2)) == ()
    assert recipe_limits(replace(recipe, quality=None), same) == ()
    for other in (results([40.0, 41.0], suite="mine"), NEAR[:1]):
        assert recipe_limits(recipe, evaluation(other)) == ()
        note = without_limits(recipe, evaluation(other), ())
        assert note is not None
        assert "2 prompts of the suite 'known'" in note
    assert without_limits(recipe, same, found) is None
    assert "sets none" in str(without_limits(replace(recipe, quality=None), same, ()))
    assert with_defaults([PSNR], found)[0] is PSNR
    assert [it.figure for it in with_defaults([PSNR], found)] == ["psnr", "ssim"]
