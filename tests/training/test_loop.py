"""The loop that every stage of training runs."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgegen.core.process import run
from training import loop
from training.loop import OtherBasisError, OutOfTimeError, Stage
from training.settings import Schedule
from training.tables import append_row

SCHEDULE = Schedule(steps=30, batch=4, learning_rate=0.05, warmup=5)
WEIGHTS = torch.tensor([[1.0, -2.0, 3.0]])


def loss(module, generator):
    inputs = torch.randn(SCHEDULE.batch, 3, generator=generator)
    return (module(inputs) - inputs @ WEIGHTS.T).square().mean()


def stage(folder, **options):
    torch.manual_seed(0)
    options = {"schedule": SCHEDULE, "loss": loss, **options}
    return Stage(
        name="stage",
        module=torch.nn.Linear(3, 1),
        folder=folder,
        device=torch.device("cpu"),
        **options,
    )


def test_a_stage_learns_and_writes_its_curve(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_STEPS", 10)
    module = stage(tmp_path, schedule=Schedule(steps=300, batch=4, learning_rate=0.1)).run()
    assert torch.allclose(module.weight, WEIGHTS, atol=0.05)
    rows = (tmp_path / "stage.curve.csv").read_text().splitlines()
    assert rows[0] == "step,loss"
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    assert len(losses) == 30
    assert losses[-1] < losses[0] / 100


def test_a_stage_that_was_stopped_reaches_the_weights_of_one_that_was_not(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = stage(tmp_path / "whole").run()
    for step in range(1, SCHEDULE.steps):
        with pytest.raises(OutOfTimeError, match=f"after step {step} of 30"):
            stage(tmp_path / "parts", deadline=time.monotonic()).run()
    parts = stage(tmp_path / "parts", deadline=time.monotonic()).run()
    assert torch.equal(whole.weight, parts.weight)
    assert torch.equal(whole.bias, parts.bias)


def test_a_stage_that_is_done_is_not_trained_again(tmp_path):
    done = stage(tmp_path).run()

    def unwanted(module, generator):
        raise AssertionError

    assert torch.equal(stage(tmp_path, loss=unwanted).run().weight, done.weight)


INTERRUPTED = """
import signal, sys
from pathlib import Path
from tests.training.test_loop import loss, stage
from training.loop import OutOfTimeError, stop_when_interrupted

def interrupted(module, generator):
    signal.raise_signal(signal.Signals[sys.argv[1]])
    return loss(module, generator)

stop_when_interrupted()
try:
    stage(Path(sys.argv[2]), loss=interrupted).run()
except OutOfTimeError as stopped:
    print(stopped)
"""


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_signal_ends_a_stage_with_a_checkpoint(tmp_path, name):
    # In a process of its own: what other tests made of this one's signals is not known.
    root = Path(__file__).resolve().parents[2]
    done = run([sys.executable, "-c", INTERRUPTED, name, str(tmp_path)], timeout_s=120, cwd=root)
    assert "after step 1 of 30" in done.text
    assert (tmp_path / "stage.checkpoint.safetensors").exists()


def test_the_rate_rises_stays_and_falls():
    rates = [SCHEDULE.rate(step) for step in range(SCHEDULE.steps)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[5:24] == [0.05] * 19
    assert rates[-1] == pytest.approx(0.05 / 6)


def test_the_watcher_sees_the_averaged_weights(tmp_path):
    seen = []
    done = stage(tmp_path, watch=lambda step, module: seen.append((step, module))).run()
    assert seen == [(30, done)]


def test_the_watcher_sees_the_last_weights_even_where_the_time_is_over(tmp_path):
    seen = []
    options = {"schedule": replace(SCHEDULE, steps=2), "watch": lambda step, _: seen.append(step)}
    with pytest.raises(OutOfTimeError):
        stage(tmp_path, deadline=time.monotonic(), **options).run()
    assert seen == []
    stage(tmp_path, deadline=time.monotonic(), **options).run()
    assert seen == [2]


def test_a_checkpoint_of_another_basis_is_refused_and_kept(tmp_path):
    with pytest.raises(OutOfTimeError):
        stage(tmp_path, basis="one", deadline=time.monotonic()).run()
    path = tmp_path / "stage.checkpoint.safetensors"
    before = path.read_bytes()
    message = f"{path} was trained on other settings, data or earlier stages. Remove it"
    with pytest.raises(OtherBasisError, match=re.escape(message)):
        stage(tmp_path, basis="other").run()
    assert path.read_bytes() == before
    stage(tmp_path, basis="one").run()


def test_a_checkpoint_without_a_basis_is_refused(tmp_path):
    stage(tmp_path).run()
    path = tmp_path / "stage.checkpoint.safetensors"
    save_file(load_file(path), path, {"progress": '{"step": 30}'})
    with pytest.raises(OtherBasisError):
        stage(tmp_path).run()


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_rows_of_steps_that_a_kill_undid_are_not_doubled(tmp_path, monkeypatch, has_checkpoint):
    monkeypatch.setattr(loop, "REPORT_STEPS", 1)
    if has_checkpoint:
        with pytest.raises(OutOfTimeError):
            stage(tmp_path, deadline=time.monotonic()).run()
    first = 1 if has_checkpoint else 0
    for step in range(first + 1, 8):
        append_row(tmp_path / "stage.curve.csv", ("step", "loss"), (step, "0.5"))
    for step in (first, 7):
        append_row(tmp_path / "stage.scores.csv", ("step", "split"), (step, "trained"))
    stage(tmp_path).run()
    rows = (tmp_path / "stage.curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", *map(str, range(1, 31))]
    assert not [row for row in rows if row.endswith(",0.5")]
    scores = (tmp_path / "stage.scores.csv").read_text().splitlines()
    assert scores == ["step,split", f"{first},trained"]
    assert not list(tmp_path.glob("*.part"))
