"""kill -9 of edgegen while it packages: the destination is what it was, or the new package."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgegen.core.manifest import load_manifest
from edgegen.packaging.integrity import verify_files
from tests.conftest import TinyPipeline
from tests.faults.command import Command, staging_of

SEED = 20
MOMENTS = 100
WITH_PARITY = 8
"""So many of the moments are in a run with parity, which takes twice as long."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When to kill: `delay_s` after an event, and whether a package is there to be replaced."""

    after: str
    delay_s: float
    replaces: bool
    parity: bool = False

    def __str__(self) -> str:
        return f"{self.after}+{self.delay_s:.3f}s" + "-replacing" * self.replaces


def event(name: str, out: Path, inode: int | None) -> Callable[[], bool]:
    """Return what says that an event has come.

    `inode` is that of the package which is replaced.
    """

    def has(*parts: str) -> bool:
        staging = staging_of(out)
        return staging is not None and staging.joinpath(*parts).exists()

    def exchanged() -> bool:
        return out.exists() and out.stat().st_ino != inode

    events: dict[str, Callable[[], bool]] = {
        "start": lambda: True,
        "conversion": lambda: has("unet"),
        "weights": lambda: has("unet", "model.onnx_data"),
        "reference": lambda: has("golden"),
        "manifest": lambda: has("edgegen.json"),
        "exchange": exchanged,
    }
    return events[name]


def random_moments(count: int) -> list[Moment]:
    """Return moments all over a build, more where files are written and renamed."""
    draw = random.Random(SEED)
    longest_s = {
        "start": 2.0,
        "conversion": 12.0,
        "weights": 0.3,
        "reference": 10.0,
        "manifest": 0.06,
        "exchange": 0.01,
    }
    moments = []
    for index in range(count):
        parity = index < WITH_PARITY
        choices = ["reference", "manifest"] if parity else [*longest_s]
        after = draw.choice([name for name in choices if parity or name != "reference"])
        longest = 2.0 if parity and after == "manifest" else longest_s[after]
        moments.append(
            Moment(
                after=after,
                delay_s=draw.uniform(0, longest),
                replaces=draw.random() < 0.5,
                parity=parity,
            )
        )
    return moments


class Builds:
    """Builds into one place again and again, killed each time, and judges what is there."""

    def __init__(self, model: Path, old: Path, place: Path) -> None:
        self.model, self.old, self.place = model, old, place
        self.out = place / "out"
        self.temporary = place.parent / "temporary"
        self.temporary.mkdir()

    def kill_at(self, moment: Moment) -> str:
        """Build until a moment, kill, and check; return what is then there: old, new or nothing."""
        shutil.rmtree(self.out, ignore_errors=True)
        inode = None
        if moment.replaces:
            shutil.copytree(self.old, self.out)
            inode = self.out.stat().st_ino
        with self.command(parity=moment.parity) as command:
            if command.wait_until(event(moment.after, self.out, inode), pause_s=0.0005):
                time.sleep(moment.delay_s)
            command.process.send_signal(signal.SIGKILL)
            assert command.process.wait() in (-signal.SIGKILL, 0), command.log.read_text()
            found = self.judge(moment)
            command.assert_all_gone()
        assert self.judge(moment) == found  # no worker went on writing
        return found

    def judge(self, moment: Moment) -> str:
        """Return what is at the destination; whatever is there must be whole."""
        if not self.out.exists():
            assert not moment.replaces
            return "nothing"
        manifest = load_manifest(self.out)
        verify_files(self.out, manifest)
        if manifest.recipe.name == "fp32":
            return "new"
        assert moment.replaces
        return "old"

    def finish(self) -> None:
        """Build to the end; nothing that the killed runs left is there any more."""
        with self.command(parity=False) as command:
            outcome = command.wait()
            assert outcome.code == 0, outcome.errors
        verify_files(self.out, load_manifest(self.out))
        assert [path.name for path in self.place.iterdir()] == ["out"]
        assert list(self.temporary.iterdir()) == []

    def command(self, *, parity: bool) -> Command:
        options = [] if parity else ["--skip-parity"]
        arguments = ["package", self.model, "-t", "onnx", "-r", "fp32", "-o", self.out, "--force"]
        return Command(
            arguments=[*arguments, *options],
            folder=self.place.parent,
            env={"TMPDIR": str(self.temporary)},
        )


@pytest.fixture
def builds(tiny_pipeline: TinyPipeline, guarded_package: Path, place: Path) -> Builds:
    return Builds(tiny_pipeline("ddpm"), guarded_package, place)


def test_killed_packaging_leaves_what_was_there_and_the_next_run_cleans_up(
    builds: Builds,
) -> None:
    assert builds.kill_at(Moment(after="weights", delay_s=0, replaces=True)) == "old"
    assert list(builds.temporary.glob("edgegen-worker-*"))
    assert list(builds.place.glob(".edgegen-out-*"))
    builds.finish()


@pytest.mark.slow
def test_packaging_killed_at_random_moments_never_leaves_half_a_package(builds: Builds) -> None:
    found = [
        builds.kill_at(Moment(after="conversion", delay_s=0.5, replaces=False)),
        builds.kill_at(Moment(after="exchange", delay_s=0, replaces=True)),
    ]
    assert found == ["nothing", "new"]
    found += [builds.kill_at(moment) for moment in random_moments(MOMENTS)]
    assert {*found} == {"nothing", "old", "new"}
    builds.finish()
