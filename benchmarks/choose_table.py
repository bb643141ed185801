"""Records what every candidate of a choice is, by building, judging and measuring all of them.

    python -m benchmarks.choose_table [--model builtin:scenes …] [--steps 4,12] [--pictures 16]
        [--output benchmarks/results/choose-table.json]

It is `edgegen choose --all` on this machine, with its cache: a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import read_machine
from edgegen.choose.bounds import Knowledge
from edgegen.choose.cache import Cache
from edgegen.choose.engine import open_engine
from edgegen.choose.prepare import Asked, Prepared, place_of_device, prepare
from edgegen.choose.problem import Candidate, FloatModel, Problem
from edgegen.choose.run import Run, Setting
from edgegen.choose.search import Action, Outcome
from edgegen.choose.space import Wanted, parse_steps
from edgegen.core.choice import Way
from edgegen.core.codec import dump_json
from edgegen.core.figures import UNKNOWN, Figure, Limit
from edgegen.core.files import write_atomic
from edgegen.core.progress import SilentProgress
from edgegen.models.source import resolve
from edgegen.runner.attach import attach

MODELS = ("builtin:scenes", "builtin:scenes-4step", "builtin:scenes-4step-tiny")
TABLE = Path(__file__).parent / "results" / "choose-table.json"
QUALITY = ("right", "psnr", "ssim")
MEASURED = ("latency", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCandidate:
    """A candidate: what was predicted of it, and what it is, or why it could not be built."""

    way: Way
    package: str
    known: Mapping[str, Figure]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    step_s: Figure = UNKNOWN
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedModel:
    """What a model itself draws in torch, in other steps."""

    drawn: FloatModel
    figures: Mapping[str, Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTable:
    """Everything that a search over these candidates could find out."""

    machine: str
    pictures: int
    candidates: tuple[RecordedCandidate, ...]
    models: tuple[RecordedModel, ...]

    def problem(self, limits: Sequence[Limit], **more: Any) -> Problem:
        """Return the problem of choosing among the candidates."""
        return Problem(
            candidates=tuple(
                Candidate(way=it.way, package=it.package, known=it.known) for it in self.candidates
            ),
            limits=tuple(limits),
            measured=frozenset(MEASURED),
            **more,
        )

    def outcome(self, action: Action) -> Outcome:
        """Return what an action gave when the table was recorded."""
        if action.kind == "probe":
            found = next(it for it in self.models if it.drawn == action.model)
            return Outcome(figures=found.figures)
        if action.kind == "build":
            first = next(it for it in self.candidates if it.package == action.package)
            if first.failed:
                return Outcome(failed=first.failed)
            return Outcome(figures={"size": first.figures["size"]})
        row = self.candidates[action.place]
        names = QUALITY if action.kind == "evaluate" else MEASURED
        figures = {name: row.figures[name] for name in names if name in row.figures}
        return Outcome(figures=figures, step_s=row.step_s)


def recorded(prepared: Prepared, knowledge: Knowledge, pictures: int) -> RecordedTable:
    """Return what a choice that tried everything has found."""
    candidates = []
    for place, candidate in enumerate(prepared.search.problem.candidates):
        figures = {
            **knowledge.evaluated.get(place, {}),
            **knowledge.measured.get(place, {}),
        }
        if candidate.package in knowledge.sizes:
            figures["size"] = knowledge.sizes[candidate.package]
        candidates.append(
            RecordedCandidate(
                way=candidate.way,
                package=candidate.package,
                known=candidate.known,
                figures=figures,
                step_s=knowledge.steps.get(place, UNKNOWN),
                failed=prepared.search.why_failed(place),
            )
        )
    models = [
        RecordedModel(drawn=drawn, figures=figures)
        for drawn, figures in knowledge.float_models.items()
    ]
    return RecordedTable(
        machine=read_machine().describe(),
        pictures=pictures,
        candidates=tuple(candidates),
        models=tuple(models),
    )


def record(models: Sequence[str], steps: Sequence[int], pictures: int) -> RecordedTable:
    """Build, judge and measure everything, here."""
    silent, cache = SilentProgress(), Cache()
    with attach("local") as device:
        place = place_of_device(device, None, None)
    asked = Asked(
        models=tuple(resolve(name) for name in models),
        wanted=Wanted(steps=tuple(steps)),
        limits=(Limit(figure="memory", value=1e12), Limit(figure="right", value=1e-9)),
        pictures=pictures,
        exhaustive=True,
    )
    prepared = prepare(asked, place, cache, silent)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            setting=Setting(
                command="benchmarks.choose_table",
                device="local",
                device_title=place.title,
                profile=None,
                limits=prepared.limits,
                output=Path(folder),
            ),
            search=prepared.search,
            jobs=prepared.jobs,
            cache=cache,
            watcher=_Teller(),
        )
        with open_engine("local", cache, silent) as engine:
            run.go(engine)
        if run.interrupted is not None:
            raise SystemExit(f"interrupted by {run.interrupted}; the same command goes on")
    return recorded(prepared, prepared.search.knowledge, pictures)


class _Teller:
    """Prints a line for everything that was done."""

    def started(self, run: Run, action: Action) -> None:
        """Say nothing yet."""

    def ended(self, run: Run, action: Action, done: Any) -> None:
        """Say what was done."""
        what = action.package or (
            run.search.problem.candidates[action.place].way.name
            if action.place >= 0
            else str(action.model)
        )
        print(f"{action.kind} {what}: {done.failed or f'{done.wall_s:.1f} s'}", flush=True)


def main() -> None:
    """Record the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--steps", default="4,12")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--output", type=Path, default=TABLE)
    given = parser.parse_args()
    table = record(given.model or MODELS, parse_steps(given.steps), given.pictures)
    write_atomic(given.output, dump_json(table))
    print(f"{len(table.candidates)} candidates: {given.output}")


if __name__ == "__main__":
    main()
