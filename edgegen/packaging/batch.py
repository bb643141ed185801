"""Builds packages of one model together: what they have in common is done once.

One capture a component where axes and outputs are the same, one run of torch, one hash of the
model, one calibration. Each package is staged by itself and renamed by itself, and has the bytes
that it has when it is built by itself (docs/decisions/0042-one-capture-many-packages.md).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from edgegen.core.codec import encode
from edgegen.core.errors import BudgetNotMetError, EdgegenError
from edgegen.core.files import translate_disk_errors
from edgegen.core.folders import state_folder
from edgegen.core.model import PipelineSpec
from edgegen.core.package import Evidence, GoldenCase, PackageManifest, StageCost
from edgegen.core.progress import Progress, SilentProgress, Step, Unit
from edgegen.core.scratch import ScratchFolder, utf8_name
from edgegen.core.staging import no_empty_folders_above, staged_folder
from edgegen.core.units import format_bytes
from edgegen.core.worker import Worker
from edgegen.exporters.base import ExportJob
from edgegen.exporters.convert import WORKER, Conversion, PackageJobs, convert, goldens_by
from edgegen.exporters.onnx.contexts import require_compiler
from edgegen.models.pipeline_source import folder_source
from edgegen.packaging.assemble import Shared, assemble
from edgegen.packaging.plan import BuildPlan
from edgegen.packaging.replace import require_replaceable
from edgegen.packaging.small_files import write_config
from edgegen.packaging.source_hash import weights_sha256
from edgegen.parity.side import Draw, Outcome
from edgegen.parity.side_by_side import SideBySide, plan_drawing, set_side_by_side
from edgegen.reference.calibrate import Calibrated, make_calibration
from edgegen.reference.case import FOLDER_NAME
from edgegen.reference.run import GoldenRequest, GoldenRun, RunGoldens, make_goldens

CALIBRATION_NAME = "calibration.json"

Accept = Callable[[Path, str], None]
"""Gets the folder of a package that is complete, and its name in the plan; raises to refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A package that stands in its place, what was measured, and what to know of its model."""

    path: Path
    manifest: PackageManifest
    evidence: Evidence
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of each package, in the order of their plans, and of the picture of them all."""

    packages: tuple[Built | EdgegenError, ...]
    picture: SideBySide | EdgegenError | None = None


@dataclass(kw_only=True)
class _Work:
    """A package under way: its staging folder is open until it is put in its place, or fails."""

    plan: BuildPlan
    label: str
    progress: Progress
    place: ExitStack = field(default_factory=ExitStack)
    staging: Path = Path()
    calibrated: Calibrated | None = None
    conversion: Conversion | None = None
    golden: GoldenRun | None = None
    drawn: Outcome = None
    outcome: Built | EdgegenError | None = None

    def attempt(self, act: Callable[[], None]) -> None:
        """Do a part of the work; an error of edgegen's ends this package, and no other."""
        try:
            with ExitStack() as guard:
                guard.push(self.place)
                act()
                guard.pop_all()
        except EdgegenError as error:
            self.outcome = error

    def fail(self, error: EdgegenError) -> None:
        """End this package, and remove what there is of it."""

        def act() -> None:
            raise error

        self.attempt(act)


def build_all(
    plans: Sequence[BuildPlan],
    *,
    parity: bool = True,
    accept_failure: bool = False,
    picture: bool = False,
    prompt: str | None = None,
    accept: Accept | None = None,
    progress: Progress | None = None,
) -> Batch:
    """Build packages of one model, each beside its place, and rename them there one by one.

    Without `parity` nothing is compared with torch, and the packages have no golden case. With
    `accept_failure` a package that failed is written all the same, and says so. With `picture` what
    torch and each package draw of `prompt` is part of the result; there is none without `parity`.
    `accept` has the last word on each package, before it is renamed.

    A package that fails is an error in the result; its destination is then as it was. An interrupt
    leaves the packages that stand in their places, and nothing of the others.
    """
    shown = progress or SilentProgress()
    with (
        _logs() as logs,
        utf8_name(plans[0].model) as model,
        ExitStack() as places,
    ):
        count = len(plans)
        works = [
            _work(replace(plan, model=model), number, count, shown)
            for number, plan in enumerate(plans, start=1)
        ]
        for plan in plans:
            places.enter_context(no_empty_folders_above(plan.destination))
        for work in works:
            places.push(work.place)
            work.attempt(partial(_open, work))
        _calibrate(works, logs, shown)
        drawing = None
        if picture and parity:
            scratch = places.enter_context(ScratchFolder("draw"))
            drawing = _Drawing.planned(plans[0].candidate.spec, model, prompt, scratch)
        with ExitStack() as process:
            worker = process.enter_context(Worker(WORKER, log=logs / "convert.log"))
            _convert(works, worker, shown)
            if not (parity and worker.is_ready):
                process.close()
            if parity:
                run = goldens_by(worker) if worker.is_ready else None
                _run_reference(works, drawing, model, logs, shown, run)
        _finish(
            works,
            drawing,
            parity=parity,
            accept_failure=accept_failure,
            accept=accept,
            logs=logs,
            progress=shown,
        )
        outcomes = tuple(work.outcome for work in works if work.outcome is not None)
        drawn = None if drawing is None else drawing.of_all(works)
        if all(isinstance(outcome, Built) for outcome in outcomes):
            shutil.rmtree(logs, ignore_errors=True)
    return Batch(packages=outcomes, picture=drawn)


def _work(plan: BuildPlan, number: int, count: int, progress: Progress) -> _Work:
    label = f"{number} of {count}: {plan.name}" if count > 1 else ""
    return _Work(plan=plan, label=label, progress=_Journey(progress, label) if label else progress)


def _alive(works: Sequence[_Work]) -> list[_Work]:
    return [work for work in works if work.outcome is None]


def _open(work: _Work) -> None:
    plan = work.plan
    if plan.candidate.runtime.chips:
        require_compiler()  # before a minute of work
    check = partial(require_replaceable, force=plan.force)
    staged = work.place.enter_context(staged_folder(plan.destination, check=check))
    work.staging = work.place.enter_context(utf8_name(staged))
    for component in plan.candidate.components:
        folder = work.staging / component.name
        folder.mkdir()
        write_config(plan.model / component.folder, folder, component.class_name)


def _calibrate(works: Sequence[_Work], logs: Path, progress: Progress) -> None:
    """Measure the ranges of activations, where a recipe quantizes them ahead of time."""
    wanted = [work for work in _alive(works) if _calibrated(work)]
    for number, spec in enumerate(_distinct(work.plan.candidate.spec for work in wanted)):
        same = [work for work in wanted if work.plan.candidate.spec == spec]
        try:
            calibrated = make_calibration(
                spec,
                folder_source(same[0].plan.model),
                logs / f"{number}-{CALIBRATION_NAME}",
                components={name for work in same for name in _calibrated(work)},
                progress=progress,
                log=logs / "calibration.log",
            )
        except EdgegenError as error:
            for work in same:
                work.fail(error)
        else:
            for work in same:
                work.calibrated = replace(
                    calibrated, cost=replace(calibrated.cost, packages=len(same))
                )


def _calibrated(work: _Work) -> tuple[str, ...]:
    candidate = work.plan.candidate
    return candidate.recipe.calibrated(candidate.spec.components)


def _distinct(specs: Iterator[PipelineSpec]) -> list[PipelineSpec]:
    found: list[PipelineSpec] = []
    for spec in specs:
        if spec not in found:
            found.append(spec)
    return found


def _convert(works: Sequence[_Work], worker: Worker, progress: Progress) -> None:
    wanted = _alive(works)
    if not wanted:
        return
    packages = [
        PackageJobs(
            label=work.label,
            jobs=tuple(_jobs(work)),
            expected_bytes=work.plan.prediction.component_bytes,
        )
        for work in wanted
    ]
    outcomes = convert(packages, worker, progress=progress)
    for work, outcome in zip(wanted, outcomes, strict=True):
        if isinstance(outcome, EdgegenError):
            work.fail(outcome)
        else:
            work.conversion = outcome


def _jobs(work: _Work) -> Iterator[ExportJob]:
    plan, calibrated = work.plan, work.calibrated
    for component in plan.candidate.components:
        yield ExportJob(
            target=plan.candidate.target.name,
            component=component,
            source=folder_source(plan.model),
            destination=str((work.staging / component.name).absolute()),
            recipe=plan.candidate.recipe,
            shapes=plan.candidate.runtime.shapes,
            options=encode(plan.candidate.options),
            calibration=None if calibrated is None else str(calibrated.path.absolute()),
        )


def _run_reference(
    works: Sequence[_Work],
    drawing: _Drawing | None,
    model: Path,
    logs: Path,
    progress: Progress,
    run: RunGoldens | None,
) -> None:
    """Run torch once: the golden case of each package and, last, the picture of them all."""
    wanted = _alive(works)
    if not wanted:
        return
    requests = [
        GoldenRequest(
            spec=replace(work.plan.candidate.spec, components=work.plan.candidate.components),
            destination=work.staging / FOLDER_NAME,
        )
        for work in wanted
    ]
    if drawing is not None:
        requests.append(drawing.request)
    made = make_goldens(
        requests, folder_source(model), progress=progress, log=logs / "reference.log", run=run
    )
    goldens = made[: len(wanted)]
    for work, golden in zip(wanted, goldens, strict=True):
        if isinstance(golden, EdgegenError):
            work.fail(golden)
        else:
            work.golden = golden
    if drawing is not None and isinstance(made[-1], EdgegenError):
        drawing.error = made[-1]


def _finish(
    works: Sequence[_Work],
    drawing: _Drawing | None,
    *,
    parity: bool,
    accept_failure: bool,
    accept: Accept | None,
    logs: Path,
    progress: Progress,
) -> None:
    wanted = _alive(works)
    if not wanted:
        return
    plan = wanted[0].plan
    try:
        digest = weights_sha256(plan.model, plan.candidate.components, progress)
    except EdgegenError as error:
        for work in wanted:
            work.fail(error)
        return
    # The case of the last package has seen what all of them cost.
    last = wanted[-1].golden
    for work in wanted:
        costs = _costs(work, last, len(wanted))
        golden = work.golden.case if parity and work.golden is not None else None
        shared = Shared(weights_sha256=digest, golden=golden, accept_failure=accept_failure)
        picture = None if drawing is None else drawing.picture()
        work.attempt(partial(_put, work, shared, costs, picture, accept, logs))


def _costs(work: _Work, golden: GoldenRun | None, packages: int) -> list[StageCost]:
    costs = [] if work.calibrated is None else [work.calibrated.cost]
    if work.conversion is not None:
        costs += work.conversion.costs
    if golden is not None:
        costs.append(replace(golden.cost, packages=packages))
    return costs


def _put(
    work: _Work,
    shared: Shared,
    costs: Sequence[StageCost],
    picture: Draw | None,
    accept: Accept | None,
    logs: Path,
) -> None:
    conversion = work.conversion
    assert conversion is not None  # else it had failed
    with work.place:
        made = assemble(
            work.plan,
            work.staging,
            conversion,
            shared,
            costs,
            picture=picture,
            progress=work.progress,
            log=logs / "companions.log",
        )
        _require_size(work)
        if accept is not None:
            accept(work.staging, work.plan.name)
    work.drawn = made.drawn
    work.outcome = Built(
        path=work.plan.destination,
        manifest=made.manifest,
        evidence=made.evidence,
        warnings=conversion.warnings,
    )


def _require_size(work: _Work) -> None:
    """Raise BudgetNotMetError for a package that takes more than it was to take."""
    limit_bytes = work.plan.limit_bytes
    if limit_bytes is None:
        return
    files = (path for path in work.staging.rglob("*") if path.is_file())
    size_bytes = sum(path.stat().st_size for path in files)
    if size_bytes > limit_bytes:
        raise BudgetNotMetError(
            f"The package takes {format_bytes(size_bytes)}, and {format_bytes(limit_bytes)} is "
            "the most that it may take.",
            hint="Ask for one or two percent less, and please report the model's config: its size "
            "was predicted too low.",
        )


@dataclass(kw_only=True)
class _Drawing:
    """The picture of all packages: torch's part of it is drawn with the golden cases."""

    case: GoldenCase
    request: GoldenRequest
    scratch: Path
    error: EdgegenError | None = None

    @classmethod
    def planned(
        cls, spec: PipelineSpec, model: Path, prompt: str | None, scratch: Path
    ) -> _Drawing:
        case = plan_drawing(spec, model, prompt=prompt)
        destination = scratch / case.folder
        return cls(
            case=case,
            request=GoldenRequest(spec=spec, destination=destination, case=case, probes=False),
            scratch=scratch,
        )

    def picture(self) -> Draw | None:
        """Return what one package is to draw; None where torch could not."""
        if self.error is not None:
            return None
        place = Path(tempfile.mkdtemp(dir=self.scratch))
        return Draw(case=self.case, pictures=self.request.destination, place=place)

    def of_all(self, works: Sequence[_Work]) -> SideBySide | EdgegenError | None:
        """Return one picture of what torch and the packages drew; the error of one that did not."""
        drawn = {
            f"{it.target.title}, {it.recipe.name}": work.drawn
            for work, it in ((work, work.plan.candidate) for work in works)
            if isinstance(work.outcome, Built)
        }
        if not drawn or self.error is not None:
            return self.error
        pictures = {}
        for label, picture in drawn.items():
            if isinstance(picture, EdgegenError):
                return picture
            if picture is not None:
                pictures[label] = picture
        return set_side_by_side(self.case, self.request.destination, pictures)


class _Journey:
    """Progress of one package among several: its steps are named by where the journey is."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._label = label

    def step(
        self, name: str, *, total: float | None = None, unit: Unit = "items"
    ) -> AbstractContextManager[Step]:
        """Open a step."""
        return self._progress.step(f"{self._label}, {name}", total=total, unit=unit)


@contextlib.contextmanager
def _logs() -> Iterator[Path]:
    """Yield a folder for the workers' logs, which stays where something failed."""
    folder = state_folder() / "logs" / f"package-{os.getpid()}"
    with translate_disk_errors(folder, setting="EDGEGEN_STATE_DIR"):
        folder.mkdir(parents=True, exist_ok=True)
    yield folder
