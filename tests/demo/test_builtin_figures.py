"""Cards and docs/concepts/models.md give the measured figures of the weights that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.builtin_scores_report import (
    MODELS,
    REFERENCE,
    Found,
    Which,
    markdown,
    recipes_table,
    weights_digest,
)
from benchmarks.compression_frontier_plot import FIGURES, plot
from benchmarks.compression_frontier_report import Frontier, beaten, pairs_table
from benchmarks.compression_frontier_report import markdown as markdown_of_places
from benchmarks.pruning_curve import RESULTS as PRUNED
from benchmarks.pruning_curve import Curves, table
from edgegen.builtin.folder import PREFIX, SHIPPED
from edgegen.core.codec import load_json
from edgegen.core.targets import target_names
from edgegen.models.source import resolve
from edgegen.scenes.scores import Score
from tests.demo.test_docs import table_under

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/concepts/models.md").read_text("utf-8")
RESULTS = ROOT / "benchmarks/results/builtin-scores.json"
FOUND = load_json(Found, RESULTS)
PLACES = ROOT / "benchmarks/results/compression-frontier.json"
FRONTIER = load_json(Frontier, PLACES)
NOTHING_SEEN = 0.001
"""A FLIP below it is nothing that anybody sees: there either may be nearer."""

GROUPS = {
    "a thing on white": "plain",
    "on a colour": "colour",
    "big or small": "size",
    "at a place": "place",
    "two to four": "count",
    "two things": "pair",
}
COMPOSITIONS = {
    "trained": ("colour", "size", "place", "count", "pair"),
    "held-out": ("colour", "place", "count", "pair"),
}


def scores(model: str, requests: Which) -> dict[str, Score]:
    """Return what diffusers reached with a model, by split and group."""
    (row,) = (
        row
        for row in FOUND.drawn
        if (row.model, row.drawn_by, row.requests) == (model, REFERENCE, requests)
    )
    return dict(row.scores)


def right(model: str, split: str, group: str) -> float:
    return scores(model, "sampled")[f"{split}, {group}"].all_right


def only(model: str, requests: Which) -> Score:
    (score,) = scores(model, requests).values()
    return score


@pytest.mark.parametrize("model", MODELS)
def test_the_weights_that_were_scored_are_the_ones_that_ship(model: str) -> None:
    assert FOUND.weights[model] == weights_digest(resolve(model).path)


@pytest.mark.parametrize("model", MODELS)
def test_a_card_has_the_scores_of_its_model(model: str) -> None:
    card = (SHIPPED / model.removeprefix(PREFIX) / "README.md").read_text("utf-8")
    header, *rows = table_under(card, "## What it can do")
    assert header == ["scenes", "trained on", "held out"]
    assert [row[0] for row in rows] == list(GROUPS)
    for name, trained, held_out in rows:
        assert trained == f"{right(model, 'trained', GROUPS[name]):.1%}".replace("%", " %")
        if held_out:
            assert held_out == f"{right(model, 'held-out', GROUPS[name]):.1%}".replace("%", " %")
    every = only(model, "every caption")
    words = " ".join(card.split())
    assert f"all {every.pictures:,} pictures of things alone on white" in words
    assert f"{every.all_right:.1%} are right".replace("%", " %") in words
    anew = only(model, "placed anew")
    said = f"{round(anew.pictures * anew.all_right)} of {anew.pictures}"
    assert f"places that no training picture shows in any company, {said} are right" in words


def test_the_page_has_the_scores() -> None:
    rows = {row[0]: row[1:] for row in table_under("\n" + PAGE, "# Built-in models")}

    def cells(name: str) -> list[str]:
        return next(row for start, row in rows.items() if start.startswith(name))

    def told(share: float, digits: int) -> str:
        return f"{100 * share:.{digits}f} %"

    assert cells("**a thing on white**") == [
        told(only(model, "every caption").all_right, 1) for model in MODELS
    ]
    for split, groups in COMPOSITIONS.items():
        assert cells(f"**{split} compositions**") == [
            told(sum(right(model, split, group) for group in groups) / len(groups), 1)
            for model in MODELS
        ]
    split = "trained"
    for name, row in rows.items():
        split = "held-out" if name.startswith("**held-out") else split
        if " · " in name:
            groups = [GROUPS[part] for part in name.split(" · ")]
            assert row == [
                " · ".join(told(right(model, split, group), 0) for group in groups)
                for model in MODELS
            ]


def test_the_page_has_the_table_of_recipes() -> None:
    assert recipes_table(FOUND, FRONTIER) in PAGE


def test_the_guide_has_the_table_of_mixes_and_the_plots() -> None:
    guide = (ROOT / "docs/guides/compressing.md").read_text("utf-8")
    assert pairs_table(FRONTIER) in guide
    for figure in FIGURES:
        name = f"compression-frontier-{figure}.svg"
        assert f"(../images/{name})" in guide
        assert (ROOT / "docs/images" / name).read_text("utf-8") == plot(FRONTIER, figure)


def test_the_guide_has_the_table_of_pruned_models() -> None:
    guide = (ROOT / "docs/guides/compressing.md").read_text("utf-8")
    assert table(load_json(Curves, PRUNED).curves) in guide


def test_no_recipe_is_better_than_the_mix_of_its_size() -> None:
    # More pictures right than the model's own is luck, not quality. One mix is nearer by FLIP and
    # farther by PSNR, which is that of all pictures together: one of 30 moved (decision 0074).
    for reference in FRONTIER.references:
        for target in target_names():
            for uniform, mix, worse in beaten(FRONTIER.of(reference.model, target)):
                as_model = worse == "right" and mix.right >= reference.right
                place = (reference.model, target, mix.mix_of, worse)
                known = place == ("builtin:scenes", "onnx", "int8", "PSNR")
                assert not worse or as_model or known or uniform.flip < NOTHING_SEEN, (uniform, mix)


def test_the_table_of_the_frontier_is_that_of_its_figures() -> None:
    assert PLACES.with_suffix(".md").read_text("utf-8") == markdown_of_places(FRONTIER)


def test_the_page_of_results_is_that_of_the_figures() -> None:
    assert RESULTS.with_suffix(".md").read_text("utf-8") == markdown(FOUND)
