"""`edgegen bench`, from the command line to its files."""

import json
from pathlib import Path

import pytest

from edgegen.cli.main import run
from edgegen.core.codec import decode, load_json
from edgegen.core.measurement import Measurement
from tests.tiny_packages import onnx_package

QUICK = ("--quick", "--images", "2", "--threads", "1")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("command") / "package")


def test_a_benchmark_shows_tables_and_a_plot_and_writes_its_files(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"--json": tmp_path / "raw.json", "--html": tmp_path / "page.html"}
    arguments = [part for option, file in files.items() for part in (option, str(file))]
    assert run(["bench", str(package), *QUICK, *arguments]) == 0
    shown = capsys.readouterr()
    for word in ("Latency", "Steady image", "Cold load", "Package on disk", "Step, each of 6"):
        assert word in shown.out
    assert "--quick" in shown.err  # a warning, not a result
    found = load_json(Measurement, files["--json"])
    assert found.quick
    text = files["--html"].read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "data:image/png;base64," in text


def test_the_raw_samples_go_to_standard_output_alone(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--quiet", "bench", str(package), *QUICK, "--json", "-"]) == 0
    found = decode(Measurement, json.loads(capsys.readouterr().out), source="stdout")
    assert found.workload.steps == 3


def test_a_plan_is_shown_and_nothing_runs(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", str(package), "--plan", "--steps", "7"]) == 0
    shown = capsys.readouterr().out
    assert "steady images, process 3 of 3" in shown
    assert "7 steps" in shown
    assert "Latency" not in shown


def test_a_file_that_could_not_be_written_is_refused_before_measuring(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing" / "page.html"
    assert run(["bench", str(package), "--html", str(missing)]) == 2
    shown = capsys.readouterr()
    assert "mkdir -p" in shown.err
    assert shown.out == ""


def test_a_folder_that_is_no_package_says_how_to_make_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", str(tmp_path)]) == 2
    assert "edgegen package" in capsys.readouterr().err
