"""The page of a choice: self-contained, well formed, complete; no prompt can write in it."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from edgegen.core.choice import Choice
from edgegen.core.codec import decode, encode
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import FIGURES, Figure
from edgegen.report.choice_page import page
from edgegen.report.choice_table import ORIGINS
from edgegen.report.choice_text import verdict
from edgegen.report.frontier import best
from tests.report.choices import (
    Drawn,
    choice,
    evaluations_of,
    measurements_of,
    nothing_fits,
)
from tests.report.page_reader import HOSTILE, Checker, drawings, read


@pytest.fixture(scope="module")
def text() -> str:
    whole = choice()
    evaluations = evaluations_of(whole)
    drawn = {name: Drawn() for name in evaluations}
    return page(whole, evaluations, measurements_of(whole), drawn)


@pytest.fixture(scope="module")
def full(text: str) -> Checker:
    return read(text)


def shown(checker: Checker) -> str:
    return "".join(checker.text)


def _without_words(text: str) -> str:
    """Return a page without its raw data, its pictures and the addresses of devices."""
    told = re.sub(r'"raw">.*?</script>|base64,[^"]*', "", text, flags=re.DOTALL)
    return told.replace("ssh://pi@board", "").replace("adb://X1", "")


def test_the_page_of_a_choice_loads_nothing_and_stays_small(text: str, full: Checker) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", _without_words(text))
    for _, attributes in full.tags:
        for name in ("src", "href", "action", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith("data:image/png;base64,")
    assert len(text) < 5_000_000


def test_pictures_that_would_make_the_page_large_are_left_out() -> None:
    whole = choice()
    evaluations = evaluations_of(whole)
    one = Drawn(side=256, noise=90.0)
    drawn = dict.fromkeys(evaluations, one)
    text = page(whole, evaluations, {}, drawn)
    assert 2_000_000 < len(text) < 5_000_000
    assert "Some were left out to keep the page small." in text


def test_every_candidate_verdict_and_origin_is_on_the_page(full: Checker) -> None:
    whole, told = choice(), shown(full)
    for row in whole.rows:
        assert verdict(whole, row) in told
    names = [attributes.get("data-value") for tag, attributes in full.tags if tag == "th"]
    assert {row.way.name for row in whole.rows} <= set(names)
    for origin in ORIGINS:
        assert f"{origin} " in told
    heads = [attributes.get("title") for tag, attributes in full.tags if tag == "th"]
    assert len([title for title in heads if title]) == len(FIGURES)
    assert whole.command in told
    assert "9 conversions" in told
    assert "onnxruntime 1.32.0" in told


def test_each_figure_of_the_table_has_its_origin_in_words(full: Checker) -> None:
    told = [str(attributes.get("title")) for tag, attributes in full.tags if tag == "td"]
    cells = [
        title
        for title in told
        if title.partition(":")[0].lower() in {kind.title.lower() for kind in FIGURES.values()}
    ]
    assert len(cells) == len(choice().rows) * len(FIGURES)
    assert all(any(origin in title for origin in ORIGINS) for title in cells)


def test_the_charts_of_a_choice_are_well_formed_titled_and_inside(text: str) -> None:
    found = drawings(text)
    assert len(found) > 15
    for drawing in found:
        assert drawing.findtext("title")
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        for node in drawing.iter():
            names = (("cx", width), ("x", width), ("x1", width), ("x2", width))
            for name, limit in (*names, ("cy", height), ("y", height), ("y1", height)):
                if name in node.attrib:
                    assert -1 <= float(node.attrib[name]) <= limit + 1, ET.tostring(node)


@pytest.mark.parametrize("letter", [6.6, 8.25])
def test_no_label_of_a_frontier_is_cut_at_an_edge(text: str, letter: float) -> None:
    for drawing in drawings(text):
        if drawing.find(".//*[@class='winner-ring']") is None:
            continue
        right = float(drawing.attrib["viewBox"].split()[2])
        for label in drawing.iter("text"):
            length = letter * len(label.text or "")
            before = {"start": 0.0, "middle": length / 2, "end": length}
            left = float(label.attrib["x"]) - before[label.attrib.get("text-anchor", "start")]
            assert left >= 0, label.text
            assert left + length <= right + 1, label.text


def test_winner_limits_and_every_known_candidate_are_in_the_plots(text: str) -> None:
    whole = choice()
    first = drawings(text)[0]
    assert first.findtext("title") == "Size and latency of 28 candidates"
    classes = [node.attrib.get("class", "") for node in first.iter()]
    assert classes.count("limit") == 2
    assert classes.count("winner-ring") == 1
    assert sum(name.startswith("frontier") for name in classes) == 3
    known = [row for row in whole.rows if {"size", "latency"} <= row.figures.keys()]
    tips = [node.attrib["data-tip"] for node in first.iter() if "data-tip" in node.attrib]
    assert len(tips) == len(known)
    assert any("measured elsewhere" in tip for tip in tips)
    assert any("predicted" in tip for tip in tips)


def test_paired_figures_of_several_models_share_no_plot(text: str) -> None:
    whole = choice()
    for drawing in drawings(text):
        title = drawing.findtext("title") or ""
        if "PSNR" in title or "SSIM" in title:
            tips = [node.attrib["data-tip"] for node in drawing.iter() if "data-tip" in node.attrib]
            assert len({tip.partition(",")[0] for tip in tips}) == 1, title
    one = [row for row in whole.rows if row.way.model == whole.rows[0].way.model]
    assert "PSNR" in page(replace(whole, rows=tuple(one)))


def test_a_frontier_has_those_that_no_other_is_better_than() -> None:
    rows = choice().rows
    size = {row.way.name: row.figures["size"].value or 0 for row in rows}
    known = [row for row in rows if "latency" in row.figures]
    found = best(known, "size", "latency")
    names = {row.way.name for row in found}
    for row in known:
        beaten = any(
            (size[it.way.name], it.figures["latency"].value or 0)
            < (size[row.way.name], row.figures["latency"].value or 0)
            and size[it.way.name] <= size[row.way.name]
            and (it.figures["latency"].value or 0) <= (row.figures["latency"].value or 0)
            for it in known
        )
        assert beaten is (row.way.name not in names)


def test_what_a_model_a_prompt_or_a_reason_says_stays_text() -> None:
    whole = choice()
    row = replace(
        whole.rows[0],
        way=replace(whole.rows[0].way, model=HOSTILE, recipe=HOSTILE),
        why=HOSTILE,
        standing="failed",
        evaluation="e.json",
        figures={"size": Figure(value=1e6, origin="predicted", source=HOSTILE)},
    )
    hostile = replace(
        whole,
        rows=(row, *whole.rows[1:]),
        command=HOSTILE,
        device_title=HOSTILE,
        profile=HOSTILE,
        warnings=(HOSTILE,),
        interrupted=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    found = evaluations_of(choice())
    one = next(iter(found.values()))
    pictures = tuple(replace(it, prompt=HOSTILE, kind=HOSTILE) for it in one.pictures)
    evil = replace(one, pictures=pictures, model=HOSTILE, recipe=HOSTILE)
    checker = read(page(hostile, {"e.json": evil}, {}, {"e.json": Drawn()}))
    assert len(checker.scripts) == 2
    for tag, attributes in checker.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "img" or str(attributes["src"]).startswith("data:image/png;base64,")
    assert HOSTILE in shown(checker)
    assert json.loads(checker.scripts[0]) == encode(hostile)
    assert decode(Choice, json.loads(checker.scripts[0]), source="page") == hostile


def test_where_nothing_fits_the_page_has_misses_and_advice() -> None:
    told = shown(read(page(nothing_fits())))
    assert "Nearest misses" in told
    assert "What would help, as predicted" in told
    assert "fewer steps: 2 in place of 4" in told
    assert "What to do next" not in told


def test_a_device_that_is_not_here_is_said_so() -> None:
    told = shown(read(page(replace(choice(), device=None))))
    assert "device not here: nothing was measured on it" in told


def test_a_choice_of_almost_nothing_still_makes_a_page() -> None:
    whole = choice()
    for rows in ((), whole.rows[:1]):
        cut = replace(whole, rows=rows, limits=(), versions={})
        assert decode(Choice, json.loads(read(page(cut)).scripts[0]), source="page") == cut


def test_pictures_stand_beside_the_models_with_what_is_wrong(full: Checker) -> None:
    told = shown(full)
    assert "the model itself" in told
    assert "wrong: colour" in told
    assert "noise" in told
    alts = [str(attributes["alt"]) for tag, attributes in full.tags if tag == "img"]
    assert all(": " in alt for alt in alts)


def test_a_sustained_run_has_its_curve_and_its_package(full: Checker) -> None:
    winner = choice().winners[0]
    assert f"Sustained: {winner.way.name}" in shown(full)


def evaluation_without_pictures(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, pictures=(), suites=())


def test_an_evaluation_without_pictures_changes_nothing_else() -> None:
    whole = choice()
    empty = {name: evaluation_without_pictures(one) for name, one in evaluations_of(whole).items()}
    assert "img" not in [tag for tag, _ in read(page(whole, empty)).tags]
