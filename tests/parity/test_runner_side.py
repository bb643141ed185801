"""The artifact's side of parity: all tasks in one process of the runner, whatever fails."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from edgegen.core.errors import RunnerError
from edgegen.parity import runner_side
from edgegen.parity.runner_side import RunnerSide
from edgegen.parity.side import Draw, Probe
from edgegen.runner.job import Backend, ProbeJob, SeriesJob
from edgegen.runner.protocol import Event, Part
from tests.parity.faithful_side import CASE, MANIFEST

NAMES = ("text_encoder", "unet", "vae_decoder")


class PlayedSession:
    """A process that does what it is asked, but for the components that are broken."""

    started: ClassVar[list[tuple[str, ...]]] = []
    broken: ClassVar[set[str]] = set()
    ends_badly: ClassVar[bool] = False
    threads: ClassVar[set[int | None]] = set()

    def __init__(self) -> None:
        self.cpu_s: float | None = None

    def events(self, job: SeriesJob) -> Generator[Event]:
        names = [part.component for part in job.jobs if isinstance(part, ProbeJob)]
        self.started.append(tuple(names))
        self.threads.update(part.backend.threads for part in job.jobs)
        for index, name in enumerate(names):
            self.cpu_s = index + 1.0
            if name in self.broken:
                raise RunnerError(f"{name} has crashed")
            yield Part(t=0.0, index=index, cpu_s=index + 1.0)
        if self.ends_badly:
            raise RunnerError("it has crashed at its end")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> type[PlayedSession]:
    monkeypatch.setattr(PlayedSession, "started", [])
    monkeypatch.setattr(PlayedSession, "threads", set())
    monkeypatch.setattr(runner_side, "RunnerSession", PlayedSession)
    return PlayedSession


def outcomes(tmp_path: Path) -> tuple[list[str], float]:
    side = RunnerSide(tmp_path, backend=Backend())
    tasks = [Probe(component=name, inputs=tmp_path, outputs=tmp_path) for name in NAMES]
    said = ["" if outcome is None else str(outcome) for outcome in side.work(tasks)]
    return said, side.cpu_s


def test_all_tasks_share_one_process(session: type[PlayedSession], tmp_path: Path) -> None:
    assert outcomes(tmp_path) == (["", "", ""], 3.0)
    assert session.started == [NAMES]


@pytest.mark.parametrize("broken", NAMES)
def test_a_task_that_fails_leaves_those_after_it_as_they_are(
    broken: str,
    session: type[PlayedSession],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(session, "broken", {broken})

    said, cpu_s = outcomes(tmp_path)

    assert said == [f"{name} has crashed" if name == broken else "" for name in NAMES]
    assert cpu_s == 3.0
    after = NAMES[NAMES.index(broken) + 1 :]
    assert session.started == [NAMES, *([after] if after else [])]


def test_a_process_that_ends_badly_has_not_done_its_last_task(
    session: type[PlayedSession], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session, "ends_badly", True)
    assert outcomes(tmp_path)[0] == ["", "", "it has crashed at its end"]


@pytest.mark.parametrize(
    ("weights_bytes", "width", "threads"), [(1 << 20, 256, 1), (1 << 30, 256, None), (1, 512, None)]
)
def test_a_package_that_is_small_and_draws_small_is_run_on_one_thread(
    weights_bytes: int,
    width: int,
    threads: int | None,
    session: type[PlayedSession],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    first, *others = MANIFEST.components
    manifest = replace(MANIFEST, components=(replace(first, storage_bytes=weights_bytes), *others))
    monkeypatch.setattr(runner_side, "load_manifest", lambda _: manifest)
    draw = Draw(case=replace(CASE, width=width), pictures=tmp_path, place=tmp_path)

    list(RunnerSide(tmp_path).work([draw]))

    assert session.threads == {threads}
