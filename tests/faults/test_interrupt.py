"""Ctrl-C, and a polite request to end, at each stage."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TinyPipeline
from tests.faults.command import Command, contents, staging_of

Reached = Callable[[Path], bool]

SOON_S = 5.0
"""A worker that had only just been started when the signal came ends by itself: its input is
closed."""


def conversion(staging: Path) -> bool:
    return (staging / "unet").is_dir()


def weights(staging: Path) -> bool:
    return (staging / "unet/model.onnx_data").is_file()


def reference(staging: Path) -> bool:
    return (staging / "golden").is_dir()


def trajectory(staging: Path) -> bool:
    return (staging / "golden/latents.npy").is_file()


def parity(staging: Path) -> bool:
    return (staging / "edgegen.json").is_file()


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("stage", "number", "code"),
    [
        pytest.param(conversion, signal.SIGINT, 130, marks=SLOW),
        (conversion, signal.SIGTERM, 143),
        pytest.param(conversion, signal.SIGHUP, 129, marks=SLOW),
        pytest.param(weights, signal.SIGINT, 130, marks=SLOW),
        pytest.param(reference, signal.SIGINT, 130, marks=SLOW),
        pytest.param(trajectory, signal.SIGINT, 130, marks=SLOW),
        pytest.param(parity, signal.SIGINT, 130, marks=SLOW),
        pytest.param(parity, signal.SIGTERM, 143, marks=SLOW),
    ],
)
def test_interrupted_packaging_leaves_what_was_there_and_nothing_else(
    stage: Reached,
    number: signal.Signals,
    code: int,
    tiny_pipeline: TinyPipeline,
    guarded_package: Path,
    place: Path,
) -> None:
    out = place / "out"
    shutil.copytree(guarded_package, out)
    before = contents(place)
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", out, "--force"]
    with Command(arguments=arguments, folder=place.parent) as command:

        def reached() -> bool:
            staging = staging_of(out)
            return staging is not None and stage(staging) and len(command.alive()) > 1

        assert command.wait_until(reached)
        command.process.send_signal(number)
        started = time.monotonic()
        assert command.wait().code == code
        assert time.monotonic() - started < 10
        command.assert_all_gone(within_s=SOON_S)
        assert list(command.scratch.iterdir()) == []
    assert contents(place) == before


def test_interrupted_packaging_leaves_no_new_folder(
    tiny_pipeline: TinyPipeline, place: Path
) -> None:
    out = place / "new/deep/out"
    arguments = ["package", tiny_pipeline("ddpm"), "-t", "onnx", "-o", out]
    with Command(arguments=arguments, folder=place.parent) as command:
        assert command.wait_until(lambda: staging_of(out) is not None)
        command.process.send_signal(signal.SIGINT)
        outcome = command.wait()
        assert outcome.code == 130
        assert "error: Interrupted." in outcome.errors
        command.assert_all_gone(within_s=SOON_S)
    assert contents(place) == {}


@pytest.mark.parametrize("what", ["run", "verify", "bench"])
def test_interrupted_run_leaves_no_process_and_no_half_file(
    what: str, package: Path, place: Path
) -> None:
    before = contents(package)
    options = {
        "run": ["--steps", "1000", "-o", place / "image.png"],
        "verify": [],
        "bench": ["--steps", "1000", "--html", place / "page.html"],
    }[what]
    with Command(arguments=[what, package, *options], folder=place.parent) as command:
        assert command.wait_until(lambda: len(command.alive()) > 1)
        if what != "verify":  # which would be over by then
            time.sleep(0.3)
        command.process.send_signal(signal.SIGINT)
        assert command.wait().code == 130
        command.assert_all_gone(within_s=SOON_S)
        assert list(command.scratch.iterdir()) == []
    assert contents(place) == {}
    assert contents(package) == before
