"""The gate of quality: what fails, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError, ParityError
from edgegen.core.figures import Limit
from edgegen.core.recipe import Quality
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.evaluate.gate import gate, recipe_limits, require_quality, with_defaults
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
    lost = result(prompt="lost", fault="noise")
    (broken,) = gate(evaluation([*NEAR, lost]), [])
    assert broken.limit is None
    assert "1 of 5 pictures show nothing (noise)" in broken.why


def test_a_picture_that_is_black_in_torch_too_is_no_fault_of_the_package() -> None:
    night = result(prompt="night", fault="black", reference_fault="black")
    assert gate(evaluation([*NEAR, night]), [PSNR]) == ()


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
    assert with_defaults([PSNR], found)[0] is PSNR
    assert [it.figure for it in with_defaults([PSNR], found)] == ["psnr", "ssim"]
