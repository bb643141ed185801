"""`edgegen history`: lists, takes in and gives away what was measured; `bench` adds to it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgegen.cli.bench_result import BenchResult
from edgegen.cli.console import Console
from edgegen.cli.main import run
from edgegen.core.codec import dump_json
from edgegen.history.keep import keep
from edgegen.history.record import Query
from edgegen.history.store import History, default_path
from tests.history.results import evaluation
from tests.statistics.samples import measurement, sustained

USUAL = measurement()
QUIET = BenchResult(as_json=True, json_file=None, html_file=None)


@pytest.fixture
def filled() -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    recent = replace(sustained().environment, started_at=now.isoformat())
    with History.open(write=True) as history:
        history.add_all([USUAL, replace(sustained(), environment=recent)])


def test_an_empty_history_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history"]) == 0
    assert "Nothing of that was measured yet" in capsys.readouterr().out
    assert not default_path().exists()


@pytest.mark.usefixtures("filled")
def test_what_was_measured_is_listed_and_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history"]) == 0
    shown = capsys.readouterr().out
    for word in ("tiny-diffusion", "onnx-fp16-storage", "512×512, 8 steps", "Raspberry", "here"):
        assert word in shown
    for options, devices in (
        (["--since", "2d"], ["Raspberry Pi 5 Model B Rev 1.0"]),
        (["--since", "2026-01-01", "--device", "processor"], [None]),
        (["--model", "no such"], []),
    ):
        assert run(["history", "--json", *options]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [each.get("device_model") for each in found["records"]] == devices


@pytest.mark.parametrize("since", ["30", "yesterday", "5m", "9999999w", "2026-13-01"])
def test_a_moment_that_is_none_is_refused(since: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["history", "--since", since]) == 2
    assert "30d" in capsys.readouterr().err


@pytest.mark.usefixtures("filled")
def test_a_history_is_given_away_and_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.jsonl"
    assert run(["history", "export", str(file), "--device", "raspberry"]) == 0
    assert "1 measurement." in capsys.readouterr().out
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "another"))
    assert run(["history", "import", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["added"] == 1
    assert run(["history"]) == 0
    assert "mine.jsonl" in capsys.readouterr().out
    assert run(["history", "import", str(tmp_path / "none.json")]) == 2
    assert run(["history", "--json", "import", str(file)]) == 2


def test_evaluations_are_listed_beside_measurements(capsys: pytest.CaptureFixture[str]) -> None:
    assert keep(USUAL, evaluation()) is None
    assert run(["history"]) == 0
    shown = capsys.readouterr().out
    for word in ("Measured", "Evaluated", "known", "31.0 dB", "1 in "):
        assert word in shown
    assert run(["history", "--since", "1h", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["records"]), len(found["evaluations"])) == (0, 1)
    assert run(["history", "export", "mine.jsonl", "--experiment", "devices"]) == 2
    assert "--experiment" in capsys.readouterr().err


def test_bench_adds_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> int:
        with History.open() as history:
            return len(history.find(Query()))

    replace(QUIET, into_history=False).write(Console(), USUAL, tmp_path)
    monkeypatch.setenv("EDGEGEN_HISTORY", "0")
    QUIET.write(Console(), USUAL, tmp_path)
    assert kept() == 0
    monkeypatch.setenv("EDGEGEN_HISTORY", "1")
    QUIET.write(Console(), USUAL, tmp_path)
    assert kept() == 1


def test_a_history_that_is_broken_costs_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default_path().parent.mkdir(parents=True)
    default_path().write_text("broken, and long enough to be looked at")
    QUIET.write(Console(), USUAL, tmp_path)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["runs"] == json.loads(dump_json(USUAL))["runs"]
    assert "Not in the history" in shown.err
    assert "broken" in default_path().read_text()
