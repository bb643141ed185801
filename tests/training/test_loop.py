"""The loop that every stage of training runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch

from edgegen.core.process import run
from training import loop
from training.loop import OutOfTimeError, Stage
from training.settings import Schedule

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


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
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
