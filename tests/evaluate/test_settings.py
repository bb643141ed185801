"""What is asked of a package follows from its model's facts and the settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.errors import ConfigError
from edgegen.core.figures import Limit
from edgegen.evaluate.findable import findable, require_asked
from edgegen.evaluate.settings import (
    LARGE_MODEL_PICTURES,
    TEXTLESS_PICTURES,
    TRAJECTORIES,
    EvaluateSettings,
    Examination,
    examine,
    quality_names,
)
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from tests.conftest import TinyPipeline


def asked_of(model: ModelFolder, **settings: object) -> Examination:
    spec = read_pipeline(model)
    return examine(model, spec, spec, EvaluateSettings(**settings))  # type: ignore[arg-type]


def test_both_draw_the_same_but_for_the_steps(model: ModelFolder) -> None:
    found = asked_of(model, steps=3, guidance=2.0)
    for each in found.asked:
        assert replace(each.reference_case, steps=3) == each.case
        assert (each.case.guidance, each.case.steps) == (2.0, 3)
        assert each.reference_case.steps == found.reference_steps == 50
        assert not each.with_steps


def test_latents_are_compared_of_the_first_pictures_of_each_suite(model: ModelFolder) -> None:
    found = asked_of(model)
    of_suites = [(it.question.suite, it.number) for it in found.asked if it.with_steps]
    assert of_suites == [(suite, it) for suite in ("known", "stress") for it in range(TRAJECTORIES)]


def test_seeds_are_pictures_of_one_prompt_from_different_noise(model: ModelFolder) -> None:
    found = asked_of(model, suites=("known",), pictures=2, seeds=3)
    cases = [(it.case.prompt, it.case.seed) for it in found.asked]
    assert len(cases) == len(set(cases)) == 6
    assert len({prompt for prompt, _ in cases}) == 2


def test_a_large_picture_is_asked_for_few_times_unless_the_user_says_how_many(
    model: ModelFolder,
) -> None:
    found = asked_of(model, width=512, height=512)
    assert len(found.asked) == 2 * LARGE_MODEL_PICTURES
    assert any("--pictures" in warning for warning in found.warnings)
    assert len(asked_of(model, width=512, height=512, pictures=5).asked) == 10


def test_a_model_without_text_draws_from_noise(tiny_pipeline: TinyPipeline) -> None:
    textless = resolve(str(tiny_pipeline("ddpm")))
    found = asked_of(textless)
    assert len(found.asked) == TEXTLESS_PICTURES
    assert {(it.case.prompt, it.question.suite) for it in found.asked} == {(None, "known")}
    assert any("stress" in warning for warning in found.warnings)
    with pytest.raises(ConfigError, match="without guidance"):
        asked_of(textless, guidance=2.0)
    with pytest.raises(ConfigError, match="only"):
        asked_of(textless, width=64)


@pytest.mark.parametrize("family", ["sd-inpaint", "sdxl-refiner"])
def test_a_model_that_starts_from_a_picture_has_a_strength(
    family: str, tiny_pipeline: TinyPipeline
) -> None:
    found = asked_of(resolve(str(tiny_pipeline(family))), suites=("stress",), pictures=1)
    assert found.asked[0].case.strength is not None


@pytest.mark.parametrize("guidance", [float("nan"), float("inf"), 1e30])
def test_a_guidance_that_is_no_scale_is_refused(model: ModelFolder, guidance: float) -> None:
    with pytest.raises(ConfigError, match="--guidance"):
        asked_of(model, guidance=guidance)


def test_a_suite_that_is_given_twice_and_a_count_of_none_are_refused(model: ModelFolder) -> None:
    with pytest.raises(ConfigError, match="'known'"):
        asked_of(model, suites=("known", "known"))
    with pytest.raises(ConfigError, match="--seeds"):
        asked_of(model, seeds=0)


def test_a_limit_that_what_is_asked_says_nothing_about_is_refused(model: ModelFolder) -> None:
    psnr = [Limit(figure="psnr", value=30.0)]
    require_asked(psnr, asked_of(model, pictures=2))
    require_asked([], asked_of(model, suites=("stress",), pictures=1))
    for settings in ({"suites": ("stress",)}, {"pictures": 1}, {"pictures": 1, "seeds": 3}):
        with pytest.raises(ConfigError, match=r"--min-psnr .*'known'"):
            require_asked(psnr, asked_of(model, **settings))
    with pytest.raises(ConfigError, match="--min-right"):
        require_asked([Limit(figure="right", value=0.5)], asked_of(model))
    with pytest.raises(ConfigError, match="150 dB"):
        require_asked([Limit(figure="psnr", value=150.0)], asked_of(model))
    assert findable(asked_of(resolve("builtin:scenes"))) == {"right", "psnr", "ssim"}


def test_what_can_be_found_is_known_before_anything_is_drawn(model: ModelFolder) -> None:
    scenes = read_pipeline(resolve("builtin:scenes-4step"))
    assert quality_names(scenes) == {"right", "psnr", "ssim"}
    assert quality_names(scenes, EvaluateSettings(width=128)) == {"psnr", "ssim"}
    assert quality_names(read_pipeline(model)) == {"psnr", "ssim"}
