"""A measurement as text."""

from dataclasses import replace

import pytest

from edgegen.report.table import Table, aligned, fitted
from edgegen.report.terminal import (
    device_name,
    golden_line,
    headline,
    plot,
    tables,
)
from edgegen.statistics.analysis import analyse
from tests.statistics.samples import disturbed, measurement


def cells(title: str, **options: int) -> dict[str, dict[str, str]]:
    table = next(each for each in tables(analyse(measurement(**options))) if each.title == title)
    return {row[0]: dict(zip(table.columns[1:], row[1:], strict=True)) for row in table.rows}


def test_each_kind_of_latency_has_a_row_of_its_own() -> None:
    assert list(cells("Latency")) == [
        "Process start",
        "Cold load",
        "Warm load",
        "First image, cold",
        "First image",
        "Steady image",
        "Step",
        "Outside runtime",
    ]


def test_a_percentile_that_the_sample_is_too_small_for_is_a_dash() -> None:
    few = cells("Latency", images=3)
    assert few["Steady image"]["p90"] == "–"  # 9 images
    assert few["Step"]["p90"] != "–"  # 72 steps
    assert "p99" not in few["Step"]
    assert cells("Latency", images=4)["Steady image"]["p90"] != "–"
    many = cells("Latency", images=5)
    assert many["Step"]["p99"] != "–"  # 120 steps
    assert many["Steady image"]["p99"] == "–"


def test_an_interval_that_cannot_be_told_is_a_dash() -> None:
    assert cells("Latency")["Steady image"]["95 % interval"].endswith(" ms")
    assert cells("Latency", restarts=2)["Steady image"]["95 % interval"] == "–"
    assert cells("Latency")["Warm load"]["95 % interval"] == "–"


def test_one_value_has_no_spread() -> None:
    row = cells("Latency")["Cold load"]
    assert (row["n"], row["min"], row["max"], row["MAD"]) == ("1", "–", "–", "–")


def test_memory_is_told_with_its_parts() -> None:
    rows = cells("Memory")
    assert rows["Peak memory (PSS, file pages included)"]["size"] == "1.31 GB"
    assert rows["Peak anonymous memory"]["size"] == "420 MB"


def width_of(table: Table) -> int:
    columns = zip(table.columns, *table.rows, strict=True)
    return sum(max(map(len, column)) + 3 for column in columns) + 1


@pytest.mark.parametrize("images", [4, 5, 20])
def test_the_table_fits_eighty_columns_and_keeps_what_matters(images: int) -> None:
    table = fitted(tables(analyse(measurement(images=images)))[0], 80)
    assert width_of(table) <= 80
    assert {"n", "median", "95 % interval", "p90", "max"} <= set(table.columns)


def test_a_wide_terminal_gets_every_column() -> None:
    table = tables(analyse(measurement(images=5)))[0]
    assert fitted(table, 130) == table


def test_figures_line_up_on_the_right() -> None:
    for table in tables(analyse(measurement())):
        widths = {tuple(len(cell) for cell in row[1:]) for row in aligned(table)}
        assert len(widths) == 1


def test_a_column_of_words_is_aligned_on_the_left() -> None:
    table = Table(
        title="",
        columns=("", "figure", "of"),
        rows=(("a", "1", "x"), ("b", "10", "yy")),
        words=("of",),
    )
    assert aligned(table) == [("a", "     1", "x"), ("b", "    10", "yy")]


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ({}, "Example Processor 9000"),
        ({"model": "Board 5"}, "Board 5, Example Processor 9000"),
        ({"device": "adb://X1", "processor": None}, "x86_64 at adb://X1"),
        ({"virtual_machine": True}, "Example Processor 9000 (virtual machine)"),
        ({"emulated": True}, "Example Processor 9000 (EMULATED)"),
    ],
)
def test_a_device_is_named_by_model_processor_and_address(
    device: dict[str, str | bool | None], name: str
) -> None:
    environment = replace(measurement().environment, **device)  # type: ignore[arg-type]  # mixed
    assert device_name(environment) == name


def test_an_emulated_devices_latencies_are_not_shown() -> None:
    value = disturbed(measurement())
    assert [table.title for table in tables(analyse(value))] == ["Memory"]
    assert plot(analyse(value)) == ""
    assert "EMULATED" in headline(value)


def test_the_plot_says_how_many_values_it_draws() -> None:
    drawn = plot(analyse(measurement()))
    assert drawn.startswith("Step, each of 96")
    assert max(map(len, drawn.splitlines())) <= 80


def test_the_golden_case_is_told_where_there_is_one() -> None:
    line = golden_line(measurement())
    assert line is not None
    assert "2 of 2" in line
    assert golden_line(disturbed(measurement())) is None
