"""`edgegen choose` from the command line: what it prints, writes, and ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.errors import ConnectionLostError, EdgegenError
from tests.choose.played import MODEL, SIX, Played

BOARD = ("-p", "raspberry-pi-5")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    stand_in = Played(tmp_path / "log")
    with stand_in.standing_in():
        yield stand_in


def choose(*more: str) -> int:
    return run(["choose", MODEL, "-t", ",".join(SIX), "--steps", "2,4", *more])


def test_the_winner_is_named_with_its_reasons_and_the_next_steps(
    played: Played, capsys: Capture
) -> None:
    assert choose("-d", "local", "--min-right", "90%", "--max-latency", "1s", "-o", "out") == 0
    said = capsys.readouterr().out
    assert "fits: smallest" in said
    assert "edgegen run out/packages/scenes-4step-tiny-openvino-int8" in said
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "openvino" in page
    assert Path("out/report.csv").is_file()


def test_json_is_the_choice_and_nothing_else(played: Played, capsys: Capture) -> None:
    assert choose("-d", "local", "--min-right", "0.9", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    standings = [row["standing"] for row in found["rows"]]
    assert standings.count("winner") == 1
    assert len(standings) == 12
    assert Path("choice-scenes-4step-tiny-local/choice.json").is_file()


def test_a_plan_does_nothing(played: Played, capsys: Capture) -> None:
    assert choose("-d", "local", "--max-size", "20MB", "--plan") == 0
    said = capsys.readouterr().out
    assert "may win" in said
    assert "breaks size at most 20.0 MB, as predicted" in said
    assert not played.log.exists()
    assert choose("-d", "local", "--max-size", "20MB", "--plan", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["candidates"] == 12
    assert len(found["order"]) == 2


def test_where_nothing_passes_the_code_says_so_and_the_text_what_to_change(
    played: Played, capsys: Capture
) -> None:
    assert choose("-d", "local", "--min-right", "0.9", "--max-latency", "500ms") == 7
    said = capsys.readouterr()
    assert "fewer steps, 2 in place of 4" in said.out
    assert "No candidate meets every limit" in said.err


def test_a_device_that_is_not_here_has_no_latency(
    played: Played, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgegen.choose.prepare.memory_of_packages", lambda *what: {})
    assert choose("-p", "x86-mini-pc", "--max-latency", "2s", "--json") == 7
    found = json.loads(capsys.readouterr().out)
    assert {row["standing"] for row in found["rows"] if row["way"]["target"] == "onnx"} <= {
        "unknown",
        "failed",
    }
    assert not played.log.exists(), "what can never pass is not built"


def test_a_device_that_is_lost_ends_with_its_code(played: Played, capsys: Capture) -> None:
    def lost() -> EdgegenError | None:
        return ConnectionLostError("The connection to board was lost.", hint="Is it on?")

    played.device_fails = lost
    assert choose("-d", "local", "--min-right", "0.9", "--max-latency", "1s", "-o", "out") == 5
    said = capsys.readouterr()
    assert "The connection to board was lost" in said.err
    assert "could not be measured" in Path("out/report.md").read_text(encoding="utf-8")
    limits = ("--min-right", "0.9", "--max-latency", "1s")
    assert choose("-d", "local", *limits, "-o", "out", "--json") == 5
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "The connection to board was lost" in found["interrupted"]
    assert found["advice"] == []
    assert "Is it on?" in said.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--max-size", "20MB"), "for which device"),
        ((*BOARD, "--max-size", "20"), "without a unit"),
        ((*BOARD, "--max-size", "20MB", "--steps", "4,x"), "not a list of numbers"),
        ((*BOARD, "--max-size", "20MB", "--sizes", "0"), "isn't a size"),
        ((*BOARD, "--max-size", "20MB", "-r", "int9"), "has a recipe 'int9'"),
        ((*BOARD, "--max-size", "20MB", "--prefer", "other"), "isn't one of the models"),
        ((*BOARD, "--max-size", "20MB", "-t", ""), "--targets is empty"),
        ((*BOARD, "--max-size", "20MB", "-r", ","), "--recipes is empty"),
        (("-p", "raspberry-pi-4", "--max-energy", "8J"), "sensor"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_said_before_anything_is_done(
    options: tuple[str, ...], says: str, played: Played, capsys: Capture
) -> None:
    assert choose(*options) == 2
    assert says in capsys.readouterr().err
    assert not played.log.exists()
