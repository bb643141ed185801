"""Runs a choice: asks the search what to do, has an engine do it, and writes down what is known."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from edgegen import __version__
from edgegen.choose.cache import EVALUATION_NAME, Cache
from edgegen.choose.engine import Engine
from edgegen.choose.jobs import Jobs
from edgegen.choose.search import Action, Outcome, Search
from edgegen.choose.standings import rows_of
from edgegen.choose.tasks import Done
from edgegen.core import errors
from edgegen.core.choice import SCHEMA_VERSION, Advice, Choice, Row, Spent
from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import (
    DeviceError,
    DeviceUnreachableError,
    EdgegenError,
    MissingDependencyError,
    OutOfMemoryError,
    ResourceError,
)
from edgegen.core.figures import Limit
from edgegen.core.files import STAGING_PREFIX, file_names, translate_disk_errors, write_atomic
from edgegen.core.measurement import Measurement
from edgegen.core.run_command import needed_options
from edgegen.core.staging import staged_folder
from edgegen.packaging.redrawn import link_or_copy

CHOICE_NAME = "choice.json"
_AT_ONCE = 64
"""How much is handed over at once where everything is tried."""

_MOST_FAULTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a choice says of itself: who asked, for which device, under which limits."""

    command: str
    device: str | None
    device_title: str
    profile: str | None
    limits: tuple[Limit, ...]
    output: Path
    warnings: tuple[str, ...] = ()


class Watcher(Protocol):
    """Is shown how a choice gets on."""

    def started(self, run: Run, action: Action) -> None:
        """Hear that something is being done."""
        ...

    def ended(self, run: Run, action: Action, done: Done) -> None:
        """Hear what came of it."""
        ...


@dataclass(kw_only=True)
class _Tally:
    """What a run did itself, and what it took."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def take(self, action: Action, done: Done) -> None:
        if not done.from_cache:
            kind = "evaluate" if action.kind == "probe" else action.kind
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.seconds[kind] = self.seconds.get(kind, 0.0) + done.wall_s


@dataclass(kw_only=True)
class Run:
    """A choice under way. `keep` is given every measurement that this run makes."""

    setting: Setting
    search: Search
    jobs: Jobs
    cache: Cache
    watcher: Watcher
    keep: Callable[[Measurement], None] | None = None
    started_at: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    )
    interrupted: str | None = None
    gone: EdgegenError | None = None
    _started_s: float = field(default_factory=time.monotonic)
    _tally: _Tally = field(default_factory=_Tally)
    _packages: dict[str, Done] = field(default_factory=dict)
    _evaluations: dict[int, Done] = field(default_factory=dict)
    _measurements: dict[int, Done] = field(default_factory=dict)
    _names: tuple[str, ...] = ()
    _put: set[str] = field(default_factory=set)
    _faults: dict[Action, int] = field(default_factory=dict)

    def go(self, engine: Engine) -> None:
        """Work until the winner is found; an interrupt ends it with what is known.

        The result is written after every step. Raises ResourceError where it cannot be.
        """
        at_once = _AT_ONCE if self.search.problem.exhaustive else engine.room
        doing: dict[str, Action] = {}
        self.write()
        try:
            while self.gone is None:
                for action in self.search.next_actions(at_once - len(doing)):
                    task = self.jobs.task_for(action)
                    self.search.start(action)
                    doing[task.key] = action
                    self.watcher.started(self, action)
                    engine.submit([task])
                if not doing:
                    break
                for done in engine.completed():
                    self._take(doing.pop(done.key), done)
                    self.write()
        except KeyboardInterrupt:
            self.interrupted = "Ctrl-C"
        except SystemExit:
            self.interrupted = "a signal"
            self.write()
            raise
        finally:
            for action in doing.values():
                self.search.drop(action)
        self.write()

    def choice(self, advice: tuple[Advice, ...] = ()) -> Choice:
        """Return what is known by now."""
        setting, tally = self.setting, self._tally
        rows = zip(rows_of(self.search), self.search.places(), strict=True)
        return Choice(
            schema_version=SCHEMA_VERSION,
            command=setting.command,
            device=setting.device,
            device_title=setting.device_title,
            profile=setting.profile,
            limits=setting.limits,
            rows=tuple(self._completed(row, place) for row, place in rows),
            advice=advice,
            spent=Spent(
                wall_s=time.monotonic() - self._started_s,
                conversions=tally.counts.get("build", 0),
                evaluations=tally.counts.get("evaluate", 0),
                measurements=tally.counts.get("measure", 0),
                conversion_s=tally.seconds.get("build", 0.0),
                evaluation_s=tally.seconds.get("evaluate", 0.0),
                measurement_s=tally.seconds.get("measure", 0.0),
            ),
            started_at=self.started_at,
            versions={"edgegen": __version__, **self.jobs.versions},
            warnings=(*setting.warnings, *self._doubts()),
            interrupted=self.interrupted,
        )

    def _doubts(self) -> tuple[str, ...]:
        """Return why what was judged here may be otherwise on the device, each reason once."""
        said = dict.fromkeys(done.doubt for done in self._evaluations.values())
        return tuple(text for text in said if text)

    def write(self, advice: tuple[Advice, ...] = ()) -> Choice:
        """Write the result as it is now, and what it names, into the output folder."""
        choice = self.choice(advice)
        folder = self.setting.output
        with translate_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._put_files()
        write_atomic(folder / CHOICE_NAME, dump_json(choice))
        return choice

    def put_winners(self) -> None:
        """Put the packages of the winners into the output folder."""
        for place in self.search.winners():
            source = self.jobs.drawn_package(place)
            self.jobs.put_package(source, self.setting.output / self._package_place(place))

    def _package_place(self, place: int) -> str:
        """Return where a winner goes: `packages/scenes-4step-onnx-int8-4-steps-64x64`."""
        if not self._names:
            self._names = file_names([it.way.name for it in self.search.problem.candidates])
        return f"packages/{self._names[place]}"

    def _take(self, action: Action, done: Done) -> None:
        """Learn what came of an action; where no candidate is at fault, it is repeated once."""
        self._tally.take(action, done)
        fault = fault_of(done)
        if fault is not None:
            self._faults[action] = self._faults.get(action, 0) + 1
            if self._faults[action] < _MOST_FAULTS:
                self.search.drop(action)
                self.watcher.ended(self, action, done)
                return
            self.gone = fault
            self.interrupted = f"{_said_of(fault)}: {fault.message.rstrip('.')}"
        outcome = Outcome(figures=done.figures, step_s=done.step_s, failed=_reason(action, done))
        self.search.learn(action, outcome)
        if action.kind == "build":
            self._packages[action.package] = done
        elif action.kind == "evaluate":
            self._evaluations[action.place] = done
        elif action.kind == "measure" and not done.failed:
            self._measurements[action.place] = done
            if self.keep is not None and not done.from_cache:
                self.keep(load_json(Measurement, self.cache.folder / done.place))
        self.watcher.ended(self, action, done)

    def _completed(self, row: Row, place: int) -> Row:
        """Return a row with its files, and what this run did for it."""
        candidate = self.search.problem.candidates[place]
        package = self._packages.get(candidate.package)
        evaluation = self._evaluations.get(place)
        measurement = self._measurements.get(place)
        is_winner = row.standing == "winner"
        name = self._package_place(place)
        is_there = is_winner and (self.setting.output / name).is_dir()
        return replace(
            row,
            package=name if is_there else None,
            needed=self._needed(candidate.package) if is_there else (),
            evaluation=_path(evaluation, f"/{EVALUATION_NAME}"),
            measurement=_path(measurement),
            built=package is not None and not package.from_cache and not package.failed,
            measured=measurement is not None and not measurement.from_cache,
        )

    def _needed(self, package: str) -> tuple[str, ...]:
        """Return the options that a package cannot draw without."""
        spec = self.jobs.space.built_as[package].spec
        return needed_options(spec.facts, spec.generation)

    def _put_files(self) -> None:
        """Put the evaluations and measurements that rows name beside the result, each once.

        What an earlier run put there is replaced: it may say something else under the same key.
        """
        for done in (*self._evaluations.values(), *self._measurements.values()):
            source = self.cache.folder / done.place
            if not done.place or done.place in self._put or not source.exists():
                continue
            _put_copy(source, self.setting.output / done.place)
            self._put.add(done.place)


def _put_copy(source: Path, place: Path) -> None:
    """Put a file or a folder of files in its place as a whole, by links where the disk has them."""
    if source.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{STAGING_PREFIX}{place.name}-{secrets.token_hex(4)}")
        try:
            link_or_copy(source, temporary)
            temporary.replace(place)  # does nothing where both are the same file
        finally:
            temporary.unlink(missing_ok=True)
        return
    with staged_folder(place, replace=True) as staging:
        for file in source.rglob("*"):
            if file.is_file():
                copy = staging / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(file, copy)


def _path(done: Done | None, more: str = "") -> str | None:
    return None if done is None or not done.place else f"{done.place}{more}"


def fault_of(done: Done) -> EdgegenError | None:
    """Return the error of the device, a disk or a tool that a task ended with; None for others.

    It is no verdict on the candidate. Memory that ran out is one: another candidate may need less.
    """
    kind = getattr(errors, done.kind, None) if done.kind else None
    if not isinstance(kind, type) or issubclass(kind, OutOfMemoryError):
        return None
    if issubclass(kind, DeviceError | ResourceError | MissingDependencyError):
        return kind(done.failed, hint=done.hint)
    return None


def _said_of(fault: EdgegenError) -> str:
    if isinstance(fault, DeviceUnreachableError):
        return "the device was lost"
    if isinstance(fault, DeviceError):
        return "the device could not be used"
    if isinstance(fault, MissingDependencyError):
        return "something is not installed"
    return "the system refused"


_DOING: Mapping[str, str] = {
    "build": "could not be built",
    "evaluate": "could not be judged",
    "measure": "could not be measured",
    "probe": "could not be judged in torch",
}


def _reason(action: Action, done: Done) -> str:
    return f"{_DOING[action.kind]}: {done.failed}" if done.failed else ""
