"""A choice as text: the same words in the terminal, in Markdown and on the page."""

import csv as csv_reader
import io
import shlex
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from edgegen.cli.layout import fit
from edgegen.cli.main import COMMANDS
from edgegen.core.choice import Choice, Row, Standing
from edgegen.core.figures import FIGURES, Figure, Limit, Origin, exact
from edgegen.report.choice_export import csv, markdown
from edgegen.report.choice_table import ORIGINS
from edgegen.report.choice_text import (
    STANDINGS,
    advice_table,
    headline,
    nearest_misses,
    next_steps,
    notes,
    sorted_rows,
    table,
    verdict,
)
from edgegen.report.figure_text import MARKS, MEANINGS, broken_text, format_range, marked
from tests.report.choices import choice, nothing_fits
from tests.report.page_reader import HOSTILE


@pytest.fixture(scope="module")
def whole() -> Choice:
    return choice()


def of_standing(whole: Choice, standing: Standing) -> Row:
    return next(row for row in whole.rows if row.standing == standing)


def test_every_standing_origin_and_figure_has_its_words(whole: Choice) -> None:
    assert set(STANDINGS) == set(get_args(Standing)) == {row.standing for row in whole.rows}
    assert set(ORIGINS) == set(MARKS) == set(get_args(Origin))
    assert set(MEANINGS) == set(FIGURES)


@pytest.mark.parametrize(
    ("name", "limit", "figure", "text"),
    [
        ("latency", 0.5, exact(0.625), "latency 25 % over 500 ms"),
        ("latency", 0.5, exact(0.5021), "latency 0.4 % over 500 ms"),
        ("latency", 0.002, exact(0.0298), "latency 14.9 times 2.00 ms"),
        ("size", 6e7, exact(9e7, "predicted"), "size 50 % over 60.0 MB, predicted"),
        ("memory", 1e9, exact(2e9, "measured elsewhere"), "100 % over 1.00 GB, measured elsewhere"),
        ("slowdown", 1.2, exact(1.5), "slowdown 25 % over 1.20×"),
        ("energy", 8.0, exact(8.8), "energy 10 % over 8.00 J"),
        ("right", 0.9, exact(0.85), "right 0.05 under 0.9"),
        ("psnr", 30.0, exact(27.7), "PSNR 2.3 dB under 30.0 dB"),
        (
            "latency",
            0.5,
            Figure(value=0.49, low=0.48, high=0.51, origin="measured"),
            "latency up to 510 ms, 2 % over 500 ms",
        ),
        (
            "right",
            0.9,
            Figure(value=0.92, low=0.87, high=0.97, origin="measured"),
            "right down to 0.870, 0.03 under 0.9",
        ),
    ],
)
def test_a_broken_limit_is_told_with_by_how_much(
    name: str, limit: float, figure: Figure, text: str
) -> None:
    assert broken_text(Limit(figure=name, value=limit), figure).endswith(text)


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (exact(2.5e6), "2.50 MB"),
        (exact(2.5e6, "predicted"), "~2.50 MB"),
        (exact(2.5e6, "measured elsewhere"), "2.50 MB*"),
        (Figure(), "?"),
    ],
)
def test_a_figure_is_marked_by_where_it_comes_from(figure: Figure, text: str) -> None:
    assert marked(FIGURES["size"], figure) == text


def test_an_interval_shares_its_unit_and_an_exact_value_has_none() -> None:
    kind = FIGURES["latency"]
    assert format_range(kind, Figure(value=4.2, low=4.1, high=4.35)) == "4.10 … 4.35 s"
    assert format_range(kind, Figure(value=1.0, low=0.9, high=1.1)) == "900 ms … 1.10 s"
    assert format_range(kind, exact(4.2)) == ""


def test_the_verdict_says_why_each_row_won_or_did_not(whole: Choice) -> None:
    told = {standing: verdict(whole, of_standing(whole, standing)) for standing in STANDINGS}
    assert told["winner"] == "fits: smallest"
    assert told["fits"] == "fits, larger"
    assert " over " in told["breaks"] or " under " in told["breaks"]
    assert told["unknown"] == "unknown: latency; The device was gone"
    assert told["failed"] == "failed: The converter does not hold aten.glu.default"
    assert told["not needed"] == "not needed: A smaller one fits"
    assert told["not tried"] == "not tried: The run was interrupted"


def test_one_that_fits_and_is_smaller_than_the_winner_was_preferred_less(whole: Choice) -> None:
    rows = {row.standing: row for row in whole.rows if row.standing in ("winner", "fits")}
    swapped = replace(
        whole,
        rows=(
            replace(rows["fits"], standing="winner"),
            replace(rows["winner"], standing="fits"),
        ),
    )
    assert verdict(swapped, swapped.rows[1]) == "fits, preferred less"


def test_the_headline_names_the_winner_or_says_that_there_is_none(whole: Choice) -> None:
    name = whole.winners[0].way.name
    fitting = sum(row.standing in ("winner", "fits") for row in whole.rows)
    assert headline(whole) == f"{name} fits: the smallest of {fitting} that do, of 36 candidates."
    assert headline(replace(whole, limits=())).endswith("; no limit was given.")
    cut = headline(replace(whole, interrupted="Ctrl-C"))
    assert cut.endswith("Interrupted: Ctrl-C.")
    assert headline(nothing_fits()).startswith("None of 36 candidates is known to meet every limit")
    only = nothing_fits()
    broken = tuple(row for row in only.rows if row.standing == "breaks")
    assert headline(replace(only, rows=broken)).endswith("meets every limit.")
    both = tuple(replace(row, standing="winner") for row in whole.rows[:2])
    bad = tuple(replace(row, standing="failed", why="no runtime") for row in whole.rows)
    assert headline(replace(whole, rows=bad)) == (
        "None of 36 candidates can be built and run: no runtime."
    )
    assert headline(replace(whole, rows=both)).startswith("One winner a model, of 2 candidates: ")


def test_the_nearest_misses_are_those_that_break_their_limits_by_the_least(whole: Choice) -> None:
    assert nearest_misses(whole) == ()
    misses = nearest_misses(nothing_fits())
    latencies = [row.figures["latency"].value or 0 for row in nothing_fits().rows if row.broken]
    assert [row.figures["latency"].value for row in misses] == sorted(latencies)[:3]


def test_the_table_has_winners_first_and_says_once_what_all_share(whole: Choice) -> None:
    shown = table(whole)
    assert [row.standing for row in sorted_rows(whole)][:2] == ["winner", "fits"]
    assert shown.title == "Candidates on Raspberry Pi 5, all with 64×64"
    assert shown.rows[0][0] == "scenes-4step, tflite palettized-4bit, 4 steps"
    assert shown.columns[:2] == ("candidate", "verdict")
    assert shown.rows[0][shown.columns.index("latency")] == "107 ms (104…110)"
    assert len(table(whole, most=5).rows) == 5
    assert "31 more are in the report." in notes(whole, most=5)


def test_the_table_fits_a_terminal_of_eighty_columns_with_all_its_columns(whole: Choice) -> None:
    limits = tuple(it for it in whole.limits if it.figure in ("size", "latency", "right"))
    for shown in (table(replace(whole, limits=limits)), table(replace(whole, limits=()))):
        assert shown.columns[1:] == ("verdict", "size", "latency", "memory", "right")
        columns = list(zip(shown.columns, *shown.rows, strict=True))
        assert len(fit(columns, 79, between=3).columns) == len(columns)


def test_the_marks_and_what_was_spent_are_below_the_table(whole: Choice) -> None:
    said = notes(whole)
    assert said[0] == "~ predicted; * measured elsewhere; ? unknown; without a mark: measured."
    assert said[-1].startswith("Took 8 min 32 s: 9 conversions (3 min 22 s), 8 evaluations")


def test_advice_is_told_with_what_it_is_predicted_to_do() -> None:
    shown = advice_table(nothing_fits())
    assert shown is not None
    assert shown.columns == ("change", "size", "latency", "memory")
    assert shown.rows[0] == ("fewer steps: 2 in place of 4", "3.10 MB", "10.0 … 15.0 ms", "–")
    assert advice_table(choice()) is None


def test_the_next_steps_are_commands_that_exist(whole: Choice) -> None:
    folder = Path("out/my choice")
    commands = [shlex.split(step.command) for step in next_steps(whole, folder)]
    assert [words[1] for words in commands] == ["deploy", "run", "bench"]
    for program, name, package, *rest in commands:
        assert program == "edgegen"
        assert name in COMMANDS
        assert package == str(folder / str(whole.winners[0].package))
        assert rest[rest.index("-d") + 1] == "ssh://pi@board"
    assert "--prompt" not in commands[1], "a package of old choices, of which nobody knows"
    here = next_steps(replace(whole, device="local"), folder)
    assert [shlex.split(step.command)[1] for step in here] == ["run", "bench"]
    absent = next_steps(replace(whole, device=None), folder)
    assert absent[0].command.endswith(" -d DEVICE")
    assert next_steps(nothing_fits(), folder) == ()


def test_markdown_has_every_candidate_and_stays_text(whole: Choice) -> None:
    text = markdown(whole)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(whole.rows) + 2
    assert {line.count(" | ") for line in rows} == {len(FIGURES) + 1}
    hostile = replace(
        whole,
        device_title=f"a | b\n{HOSTILE}",
        command="edgegen choose `x`",
        rows=(replace(whole.rows[0], why=f"{HOSTILE} | x", standing="failed"),),
    )
    told = markdown(hostile)
    assert "<script" not in told.replace("\\<script", "")
    assert len([line for line in told.splitlines() if line.startswith("| ")]) == 3
    assert "`` edgegen choose `x` ``" in told


def test_csv_has_every_candidate_with_all_digits_and_no_formula(whole: Choice) -> None:
    hostile = replace(whole.rows[0], why="=1+1", standing="not tried", package="=x")
    text = csv(replace(whole, rows=(*whole.rows[1:], hostile)))
    rows = list(csv_reader.DictReader(io.StringIO(text)))
    assert len(rows) == len(whole.rows)
    by_name = {(row["model"], row["target"], row["recipe"]): row for row in rows}
    for row in whole.rows[1:]:
        told = by_name[row.way.model, row.way.target, row.way.recipe]
        for name, unit in (("size", "bytes"), ("latency", "s"), ("psnr", "db")):
            figure = row.figures.get(name, Figure())
            assert told[f"{name}_{unit}"] == ("" if figure.value is None else repr(figure.value))
            assert told[f"{name}_origin"] == figure.origin
        assert told["standing"] == row.standing
    assert rows[-1]["package"] == "'=x" or "'=x" in text
