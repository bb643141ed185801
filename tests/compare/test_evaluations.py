"""Two evaluations are compared picture by picture, and the prompts that got worse are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgegen.compare.evaluations import HIGHEST_DB, compare_evaluations
from edgegen.compare.values import Comparison
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation
from tests.history.results import evaluation

NAMES = ("old", "new")


def compare(old: Evaluation, new: Evaluation) -> Comparison:
    return compare_evaluations(old, new, names=NAMES)


def verdicts(found: Comparison) -> dict[str, str]:
    return {each.figure: each.verdict for each in found.changes}


def test_the_same_pictures_are_no_different() -> None:
    found = compare(evaluation(), evaluation())
    assert set(verdicts(found).values()) == {"no difference"}
    assert (found.worse_pictures, found.pictures) == ((), 3)


def test_a_loss_in_all_pictures_is_found_and_the_worst_come_first() -> None:
    before = np.linspace(29, 36, 24)
    after = before - 2
    after[5] -= 6
    found = compare(evaluation(before.tolist()), evaluation(after.tolist()))
    psnr = found.change_of("psnr")
    assert psnr is not None
    assert psnr.change == pytest.approx(-2.25)
    assert psnr.worse_by == pytest.approx(2.25)
    assert psnr.low is not None
    assert psnr.high is not None
    assert psnr.low < -2.25 < psnr.high < 0
    assert verdicts(found)["ssim"] == "worse"
    worst = found.worse_pictures[0]
    assert (worst.prompt, worst.lost) == ("picture 5", True)
    assert len(found.worse_pictures) == 24
    order = [not each.lost for each in found.worse_pictures]
    assert order == sorted(order)


def test_a_gain_is_no_loss() -> None:
    before = np.linspace(20, 30, 12)
    found = compare(evaluation(before.tolist()), evaluation((before + 2).tolist()))
    assert verdicts(found)["psnr"] == "better"
    assert found.worse_pictures == ()


def test_pictures_that_only_differ_find_no_difference_in_95_of_100() -> None:
    generator = np.random.default_rng(11)
    alarms = 0
    for _ in range(100):
        before = 30 + 4 * generator.standard_normal(24)
        after = before + 2 * generator.standard_t(3, 24)  # now better, now worse, some far
        found = compare(evaluation(before.tolist()), evaluation(after.tolist()))
        alarms += any(each != "no difference" for each in verdicts(found).values())
    assert alarms <= 5


def test_seeds_of_one_prompt_count_as_one_witness() -> None:
    from edgegen.statistics.comparisons import compare_pairs

    generator = np.random.default_rng(2)
    naive = right = 0
    for _ in range(200):
        of_prompts = generator.standard_normal(8)
        differences = (of_prompts[:, None] + 0.1 * generator.standard_normal((8, 6))).ravel()
        prompts = np.repeat(np.arange(8), 6).tolist()
        grouped = compare_pairs(differences.tolist(), prompts, 0.95)
        single = compare_pairs(differences.tolist(), list(range(48)), 0.95)
        assert grouped is not None
        assert single is not None
        right += grouped.is_real is True
        naive += single.is_real is True
    assert right <= 18
    assert naive > 60


def test_above_60_db_nothing_is_lost() -> None:
    found = compare(evaluation([99.0] * 12), evaluation([61.0] * 12))
    assert verdicts(found)["psnr"] == "no difference"
    psnr = found.change_of("psnr")
    assert psnr is not None
    assert psnr.new == HIGHEST_DB
    assert found.worse_pictures == ()


def test_a_picture_that_shows_nothing_any_more_comes_first() -> None:
    old = evaluation([35.0] * 8)
    pictures = list(evaluation([35.0] * 8).pictures)
    pictures[6] = replace(pictures[6], fault="black", scores={}, right=False)
    pictures[2] = replace(pictures[2], right=False, wrong=("colour",))
    found = compare(old, replace(old, pictures=tuple(pictures)))
    assert [each.prompt for each in found.worse_pictures] == ["picture 6", "picture 2"]
    assert found.worse_pictures[0].fault == "black"
    assert found.worse_pictures[1].wrong == ("colour",)


def test_few_prompts_say_nothing_but_show_the_change() -> None:
    found = compare(evaluation([30.0, 31.0]), evaluation([20.0, 25.0]))
    psnr = found.change_of("psnr")
    assert psnr is not None
    assert (psnr.change, psnr.verdict) == (-8.0, "unknown")
    assert "six prompts" in psnr.why


def test_a_metric_that_a_side_lacks_is_unknown() -> None:
    old = evaluation()
    bare = replace(
        old, pictures=tuple(replace(each, scores={}, right=None) for each in old.pictures)
    )
    assert set(verdicts(compare(old, bare)).values()) == {"unknown"}


def test_each_suite_has_its_own_figures_the_suite_known_first() -> None:
    old, new = evaluation([35.0] * 8), evaluation([35.0] * 8)
    stress = [replace(each, suite="stress", prompt=f"odd {each.prompt}") for each in old.pictures]
    worse = [replace(each, scores={"psnr": 12.0}, right=False) for each in stress]
    old = replace(old, pictures=(*old.pictures, *stress))
    new = replace(new, pictures=(*new.pictures, *worse))
    found = compare(old, new)
    assert [(each.suite, each.verdict) for each in found.changes_of("psnr")] == [
        ("known", "no difference"),
        ("stress", "worse"),
    ]
    assert [each.verdict for each in found.changes_of("ssim")] == ["no difference", "unknown"]
    assert {each.suite for each in found.worse_pictures} == {"stress"}


def test_a_figure_that_a_suite_has_on_neither_side_is_left_out_there() -> None:
    both = evaluation([35.0] * 8)
    odd = [replace(each, suite="odd", right=None) for each in both.pictures]
    both = replace(both, pictures=(*both.pictures, *odd))
    found = compare(both, both)
    assert [each.suite for each in found.changes_of("right")] == ["known"]
    assert [each.suite for each in found.changes_of("psnr")] == ["known", "odd"]


def test_pictures_that_show_nothing_in_new_only_are_counted_past_the_end_of_the_list() -> None:
    old = evaluation([35.0] * 60)
    far = {"psnr": 9.0}
    noise = tuple(replace(each, fault="noise", scores=far) for each in old.pictures)
    new = replace(old, pictures=noise)
    found = compare(old, new)
    assert (found.new_faults, len(found.worse_pictures)) == (60, 50)
    assert compare(new, new).new_faults == 0
    meant = tuple(replace(each, reference_fault="noise") for each in new.pictures)
    assert compare(old, replace(new, pictures=meant)).new_faults == 0


def test_a_picture_that_no_metric_can_compare_any_more_is_lost() -> None:
    old = evaluation([35.0] * 8)
    other_size = replace(old.pictures[3], scores={})
    found = compare(old, replace(old, pictures=(*old.pictures[:3], other_size, *old.pictures[4:])))
    assert found.new_faults == 1
    assert found.worse_pictures[0].fault == "of another size"


def test_a_picture_that_is_there_twice_is_refused() -> None:
    old = evaluation()
    with pytest.raises(ConfigError, match="NEW has the picture 'picture 0' with seed 0"):
        compare(old, replace(old, pictures=(*old.pictures, old.pictures[0])))


def test_pictures_of_one_side_are_left_out_and_counted() -> None:
    found = compare(evaluation([30.0] * 8), evaluation([30.0] * 6))
    assert found.pictures == 6
    assert "2 pictures" in found.notes[0]
    other = evaluation()
    none = replace(other, pictures=tuple(replace(each, seed=99) for each in other.pictures))
    with pytest.raises(ConfigError, match="no picture in common"):
        compare(other, none)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 20}, "steps: 8 and 20"),
        ({"width": 32}, "size: 64×64 and 32×64"),
        ({"reference_steps": 20}, "reference's steps"),
        ({"model": "another", "weights_sha256": "00" * 32}, "model: builtin:scenes and another"),
        ({"weights_sha256": "00" * 32}, "weights: abababababab and 000000000000"),
    ],
)
def test_evaluations_of_something_else_are_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compare(evaluation(), replace(evaluation(), **changed))  # type: ignore[arg-type]


def test_what_another_arithmetic_costs_is_compared_and_said() -> None:
    found = compare(evaluation(), replace(evaluation(), arithmetic="bfloat16"))
    assert "The arithmetic: the recipe's and bfloat16." in found.notes
    assert not any("arithmetic" in note for note in compare(evaluation(), evaluation()).notes)
