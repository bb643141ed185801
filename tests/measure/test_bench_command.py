"""`edgegen bench`, from the command line to its files."""

import json
import signal
import subprocess
import sys
import time
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
    files = {"--json-file": tmp_path / "raw.json", "--html": tmp_path / "page.html"}
    arguments = [part for option, file in files.items() for part in (option, str(file))]
    assert run(["bench", str(package), *QUICK, *arguments]) == 0
    shown = capsys.readouterr()
    for word in ("Latency", "Steady image", "Cold load", "Package on disk", "Step, each of 6"):
        assert word in shown.out
    assert "--quick" in shown.err  # a warning, not a result
    found = load_json(Measurement, files["--json-file"])
    assert found.quick
    text = files["--html"].read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "data:image/png;base64," in text


def test_the_raw_samples_go_to_standard_output_alone(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "raw.json"
    arguments = ["--json", "--json-file", str(file)]
    assert run(["--quiet", "bench", str(package), *QUICK, *arguments]) == 0
    found = decode(Measurement, json.loads(capsys.readouterr().out), source="stdout")
    assert found.workload.steps == 3
    assert found == load_json(Measurement, file)


def test_a_plan_is_json_too(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", str(package), "--plan", "--json", "--sustained", "10m"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema_version"] == 1
    assert [each["kind"] for each in told["runs"]] == ["cold", "sustained"]
    assert told["runs"][1]["duration_s"] == 600


def test_a_profile_and_a_runtime_can_be_given(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "raw.json"
    arguments = ["--profile", "raspberry-pi-5", "--runtime", "onnxruntime"]
    quick = ["--quick", "--images", "1", "--steps", "2", "--json-file", str(file)]
    assert run(["bench", str(package), *arguments, *quick]) == 0
    found = load_json(Measurement, file)
    assert found.environment.profile == "raspberry-pi-5"
    assert found.workload.threads == 4
    capsys.readouterr()
    assert run(["bench", str(package), "--runtime", "openvino"]) == 2
    assert "does not run packages of the target 'onnx'" in capsys.readouterr().err
    assert run(["bench", str(package), "--profile", "raspberry-pi-6"]) == 2
    assert "raspberry-pi-5" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--images", "900"],
        # what a run that is cut short keeps of each kind: test_cut_short
        pytest.param(["--sustained", "8s"], marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_keeps_what_was_measured(
    package: Path, tmp_path: Path, options: list[str]
) -> None:
    raw, html = tmp_path / "raw.json", tmp_path / "page.html"
    outputs = ["--json-file", str(raw), "--html", str(html), "--json"]
    command = [sys.executable, "-m", "edgegen", "bench", str(package), *options, *outputs]
    out, err = tmp_path / "out", tmp_path / "err"
    with (
        out.open("wb") as output,
        err.open("wb") as errors,
        subprocess.Popen(command, stdout=output, stderr=errors) as process,
    ):
        wait_for(err, "images: 2" if "--sustained" in options else "process 1 of 3: ")  # 25 %
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    found = load_json(Measurement, raw)
    assert found.interrupted == "Ctrl-C"
    last = found.runs[-1]
    assert last.kind == ("sustained" if "--sustained" in options else "steady")
    assert len(last.images) > 1
    assert all(len(image.steps) == 3 for image in last.images)
    assert json.loads(out.read_text()) == json.loads(raw.read_text())  # one object, and no error's
    assert "interrupted" in html.read_text(encoding="utf-8")
    assert "Interrupted." in err.read_text(encoding="utf-8")


def wait_for(file: Path, text: str) -> None:
    until = time.monotonic() + 60
    while text not in file.read_text(encoding="utf-8"):
        assert time.monotonic() < until, file.read_text(encoding="utf-8")
        time.sleep(0.05)


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
