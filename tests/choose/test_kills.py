"""kill -9 at random moments: the same answer as without, and no work lost but the one in flight."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from edgegen.core.choice import Choice
from edgegen.core.codec import load_json

ROOT = Path(__file__).parents[2]


def start(output: Path, log: Path, seconds: float, folders: Path) -> subprocess.Popen[bytes]:
    """Start a choice as a process of its own."""
    environment = {
        **os.environ,
        "EDGEGEN_CACHE_DIR": str(folders / "cache"),
        "EDGEGEN_STATE_DIR": str(folders / "state"),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "tests.choose.played", str(output), str(log), str(seconds)],
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )


def wait_for_work(process: subprocess.Popen[bytes], log: Path, lines: int) -> None:
    """Wait until a choice has begun something new, or has ended."""
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if log.exists() and len(log.read_text().splitlines()) > lines:
            return
        time.sleep(0.01)


@pytest.mark.parametrize(
    "kills", [1, pytest.param(50, marks=pytest.mark.slow)], ids=["once", "50 times"]
)
def test_a_choice_that_is_killed_goes_on_and_gives_the_same_answer(
    kills: int, tmp_path: Path
) -> None:
    dice = random.Random(kills)
    seconds = 0.2
    whole = start(tmp_path / "whole", tmp_path / "whole.log", 0.0, tmp_path / "undisturbed")
    assert whole.wait(120) == 0
    expected = load_json(Choice, tmp_path / "whole" / "choice.json")

    log, killed = tmp_path / "log", 0
    log.touch()
    while killed < kills:
        # Each round is a choice of its own, which is killed until it gets to its end.
        folders, output = tmp_path / f"round-{killed}", tmp_path / f"out-{killed}"
        before = len(log.read_text().splitlines())
        in_flight: Counter[str] = Counter()
        while True:
            process = start(output, log, seconds, folders)
            if killed >= kills:
                assert process.wait(120) == 0
                break
            wait_for_work(process, log, len(log.read_text().splitlines()))
            time.sleep(dice.uniform(0, 2 * seconds))
            if process.poll() is not None:
                assert process.returncode == 0
                break
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            lines = log.read_text().splitlines()
            if lines[-1].startswith("begin"):
                in_flight[lines[-1].removeprefix("begin ")] += 1
            elif lines[-1].startswith("end"):  # it was done, and perhaps not yet kept
                in_flight[lines[-1].removeprefix("end ")] += 1
        found = load_json(Choice, output / "choice.json")
        assert [row.way for row in found.winners] == [row.way for row in expected.winners]
        assert [row.standing for row in found.rows] == [row.standing for row in expected.rows]
        lines = log.read_text().splitlines()[before:]
        begun = Counter(it.removeprefix("begin ") for it in lines if it.startswith("begin "))
        repeated = {name: count - 1 for name, count in begun.items() if count > 1}
        assert all(count <= in_flight[name] for name, count in repeated.items())
