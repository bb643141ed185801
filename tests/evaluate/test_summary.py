"""How pictures are summed up, and the figures that limits are about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgegen.core.evaluation import EQUAL_DB
from edgegen.core.figures import FIGURES
from edgegen.evaluate.summary import quality_figures, spread, sum_up, worst_first
from tests.evaluate.results import evaluation, result, results


def test_equal_pictures_count_and_are_counted() -> None:
    found = spread("psnr", results([None, 20.0, 30.0, 250.0]))
    assert (found.count, found.equal) == (4, 1)
    assert found.mean == pytest.approx((EQUAL_DB + 20 + 30 + EQUAL_DB) / 4)
    assert found.worst == 20.0


def test_the_worst_is_on_the_bad_side_of_a_metric() -> None:
    pictures = [result(scores={"flip": value}) for value in (0.1, 0.4, 0.2)]
    assert spread("flip", pictures).worst == 0.4
    assert [it.scores["flip"] for it in worst_first("flip", pictures)] == [0.4, 0.2, 0.1]


def test_a_picture_that_shows_nothing_is_worse_than_any_other() -> None:
    lost = result(12.0, prompt="lost", fault="black")
    also_black = result(1.0, prompt="night", fault="black", reference_fault="black")
    assert worst_first("psnr", [also_black, lost])[0] is lost


def test_shares_are_by_kind_and_by_split() -> None:
    pictures = [
        result(kind="trained: pair", right=True, reference_right=True),
        result(kind="trained: plain", right=True, reference_right=True),
        result(kind="held-out: pair", right=False, reference_right=True),
    ]
    found = sum_up("known", pictures)
    assert found.right == pytest.approx(2 / 3)
    assert found.reference_right == 1.0
    assert found.kinds["trained"] == 1.0
    assert found.kinds["held-out"] == found.kinds["held-out: pair"] == 0.0


def test_figures_are_of_what_the_model_knows_only() -> None:
    pictures = [*results([30.0, 32.0, 34.0]), *results([5.0, 6.0], suite="stress")]
    figure = quality_figures(evaluation(pictures))["psnr"]
    assert figure.value == pytest.approx(32.0)
    assert figure.origin == "measured"


def test_the_interval_of_a_mean_is_students() -> None:
    figure = quality_figures(evaluation(results([30.0, 32.0, 34.0])))["psnr"]
    assert figure.low == pytest.approx(32.0 - 4.3027 * 2.0 / 3**0.5, abs=1e-3)


def test_seeds_of_a_prompt_are_one_value_of_the_mean() -> None:
    seeds = [result(30.0 + seed, prompt="a", seed=seed) for seed in range(3)]
    alone = quality_figures(evaluation(seeds))["psnr"]
    assert alone.value is None
    both = quality_figures(evaluation([*seeds, result(41.0, prompt="b")]))["psnr"]
    assert both.value == pytest.approx((31.0 + 41.0) / 2)


def test_the_interval_of_a_share_is_wilsons() -> None:
    figure = quality_figures(
        evaluation([result(prompt=str(index), right=index > 0) for index in range(10)])
    )["right"]
    # Wilson's interval of 9 of 10
    assert (figure.low, figure.high) == (
        pytest.approx(0.5958, abs=1e-4),
        pytest.approx(0.9821, abs=1e-4),
    )


def test_seeds_of_a_prompt_do_not_narrow_the_interval_of_a_share() -> None:
    seeds = [result(prompt="a", seed=seed, right=True) for seed in range(60)]
    assert quality_figures(evaluation(seeds))["right"].value is None
    both = [*seeds, result(prompt="b", right=False)]
    figure = quality_figures(evaluation(both))["right"]
    assert figure.value == 0.5
    once = [result(prompt="a", right=True), result(prompt="b", right=False)]
    assert figure.low == quality_figures(evaluation(once))["right"].low


def test_a_figure_that_a_picture_lacks_is_unknown() -> None:
    lacking = result(prompt="lacking", scores={}, reference_right=True)
    pictures = [*results([30.0, 31.0, 32.0], right=True, reference_right=True), lacking]
    figures = quality_figures(evaluation(pictures))
    assert figures["psnr"].value is figures["right"].value is None
    assert worst_first("psnr", pictures)[0] is lacking
    of_nothing = replace(lacking, reference_fault="not finite", right=True)
    assert quality_figures(evaluation([*pictures[:3], of_nothing]))["psnr"].value == 31.0


def test_what_nobody_found_is_unknown() -> None:
    figures = quality_figures(evaluation(results([30.0, 31.0])))
    assert figures["right"].value is None
    assert figures["ssim"].value is None
    assert {name for name, kind in FIGURES.items() if kind.of_quality} == set(figures)
