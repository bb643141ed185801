"""`edgegen compare`, from the command line to its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgegen.cli.main import run
from edgegen.core.codec import dump_json
from edgegen.history.record import Query
from edgegen.history.store import History
from edgegen.measure.plan import BenchPlan
from tests.compare.test_measurements import with_latencies
from tests.history.results import evaluation
from tests.tiny_packages import change_manifest, onnx_package


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEGEN_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("compare") / "package")


def results(tmp_path: Path, factor: float = 1.2) -> tuple[str, str]:
    """Two measurements; images take `factor` times as long in the second."""
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal((3, 6)))
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(dump_json(with_latencies(noise.tolist())))
    new.write_text(dump_json(with_latencies((factor * noise).tolist())))
    return str(old), str(new)


def test_two_measurements_are_compared_and_a_regression_ends_with_code_11(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = results(tmp_path)
    assert run(["compare", *files]) == 0
    shown = capsys.readouterr().out
    for said in ("latency (median)", "+20.0 %", "worse", "no difference", "one after the other"):
        assert said in shown
    assert run(["compare", *files, "--fail-on", "latency:5%"]) == 11
    error = capsys.readouterr().err
    assert "latency is worse by 20 %; 5 % is allowed" in error
    assert "unknown" not in error
    assert run(["compare", *files, "--fail-on", "latency:30%,size:0%"]) == 0
    assert run(["compare", *reversed(files), "--fail-on", "latency:5%"]) == 0
    capsys.readouterr()
    assert run(["compare", *files, "--fail-on", "energy:5%"]) == 11
    assert "energy is unknown, which is no pass" in capsys.readouterr().err


def test_the_json_is_one_object_with_the_failures_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", *results(tmp_path), "--fail-on", "latency:5%", "--json"]) == 11
    found = json.loads(capsys.readouterr().out)
    verdicts = {each["figure"]: each["verdict"] for each in found["changes"]}
    assert verdicts["latency"] == "worse"
    assert len(found["failures"]) == 1
    assert found["doubts"] == []


def test_two_evaluations_name_the_prompts_that_got_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new.json"
    old.mkdir()
    (old / "evaluation.json").write_text(dump_json(evaluation([32.0] * 12)))
    new.write_text(dump_json(evaluation([32.0] * 11 + [24.0])))
    assert run(["compare", str(old), str(new)]) == 0
    shown = capsys.readouterr().out
    for said in ("picture by picture", "picture 11", "24.0 dB", "not right", "of 12"):
        assert said in shown


def test_what_is_not_of_one_kind_is_refused(
    tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = results(tmp_path)
    assert run(["compare", old, str(package)]) == 2
    assert "is a package" in capsys.readouterr().err
    assert run(["compare", old, new, "--device", "local"]) == 2
    assert run(["compare", old, str(tmp_path)]) == 2
    assert "is no package" in capsys.readouterr().err
    Path(new).write_text("{}")
    assert run(["compare", old, new]) == 2


def test_packages_of_two_models_are_refused(
    tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = onnx_package(tmp_path / "other")
    source = json.loads((other / "edgegen.json").read_text())["source"]
    change_manifest(other, source={**source, "model": "another", "weights_sha256": "77" * 32})
    assert run(["compare", str(package), str(other)]) == 2
    assert "another" in capsys.readouterr().err


def test_without_a_device_only_files_are_compared(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = [str(package), str(package), "--no-quality"]
    assert run(["compare", *same, "--fail-on", "size:0%"]) == 0
    assert "no device was measured" in capsys.readouterr().out
    assert run(["compare", *same, "--fail-on", "latency:5%"]) == 11


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--restarts", "4"], "--restarts: without --device"),
        (["--no-quality", "--suite", "known"], "--suite: with --no-quality"),
        (["--no-quality", "--steps", "2", "--width", "8"], "--steps, --width"),
        (["--no-quality", "--arithmetic", "float32"], "--arithmetic: with --no-quality"),
        (["--device", "local", "--restarts", "6", "--images", "8"], "Give --images 12 or more"),
    ],
)
def test_options_that_would_have_no_effect_are_refused(
    options: list[str], said: str, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", str(package), str(package), *options]) == 2
    assert said in capsys.readouterr().err


def test_results_take_no_options_of_drawing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "4", "--threads", "1", "--arithmetic", "bfloat16"]
    assert run(["compare", *results(tmp_path), *options]) == 2
    assert "--steps, --threads, --arithmetic: OLD and NEW" in capsys.readouterr().err


def test_packages_that_draw_differently_or_have_other_weights_are_refused_before_the_first_run(
    tmp_path: Path, package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = onnx_package(tmp_path / "other")
    manifest = json.loads((other / "edgegen.json").read_text())
    steps = manifest["generation"]["steps"]
    change_manifest(other, generation={**manifest["generation"], "steps": steps + 1})
    both = ["compare", str(package), str(other)]
    assert run([*both, "--device", "local"]) == 2
    assert f"steps: {steps} and {steps + 1}" in capsys.readouterr().err
    change_manifest(other, source={**manifest["source"], "weights_sha256": "77" * 32})
    assert run(both) == 2
    assert "with other weights" in capsys.readouterr().err
    assert run([*both, "--no-quality"]) == 0
    assert "other weights on both sides" in capsys.readouterr().out


def test_packages_are_measured_in_turns_and_what_was_measured_goes_into_the_history(
    package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measured(old: BenchPlan, new: BenchPlan, *others: object, **more: object) -> object:
        asked.append((old, new))
        latencies = [[1.0, 1.01], [0.99, 1.0], [1.0, 1.02]]
        return with_latencies(latencies), with_latencies([*latencies[1:], latencies[0]])

    monkeypatch.setattr("edgegen.measure.in_turns.measure_in_turns", measured)
    same = [str(package), str(package), "--no-quality"]
    options = ["--restarts", "4", "--images", "8", "--steps", "2"]
    assert run(["compare", *same, "--device", "local", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["how"] == "processes in turns, in pairs"
    assert [each["figure"] for each in found["changes"][:3]] == ["size", "latency", "memory"]
    assert found["changes"][1]["verdict"] == "no difference"
    ((old, new),) = asked
    assert old == new
    assert [run.kind for run in old.runs].count("steady") == 4
    assert old.workload.steps == 2
    with History.open() as history:
        assert len(history.find(Query())) == 2
    assert run(["compare", *same, "--device", "local", "--no-history"]) == 0
