"""Does the tasks of a choice: builds, judges, measures, and keeps each result by its content."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.choose.cache import Cache, Failure
from edgegen.choose.measured import figures_of, glimpse_of, slowdown_of, step_of
from edgegen.choose.tasks import (
    BuildTask,
    Done,
    EvaluateTask,
    MeasureTask,
    ModelRef,
    ProbeTask,
    Task,
)
from edgegen.core.errors import EdgegenError, ExportError
from edgegen.core.evaluation import Evaluation
from edgegen.core.figures import exact
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Measurement
from edgegen.core.package import MANIFEST_NAME, PackageManifest
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.reading import AS_IT_IS
from edgegen.core.recipe import Arithmetic
from edgegen.core.targets import load_target
from edgegen.measure.cut_short import CutShortError
from edgegen.measure.plan import BenchSettings
from edgegen.measure.plan import plan as plan_bench
from edgegen.measure.session import measure
from edgegen.models.adapters.applied import facts_of_adapters
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import resolve
from edgegen.packaging.batch import Built, build_all
from edgegen.packaging.candidate import make_candidate, predict
from edgegen.packaging.model_facts import read_facts
from edgegen.packaging.plan import BuildPlan
from edgegen.runner.arithmetic import arithmetics_of
from edgegen.runner.attach import attach
from edgegen.runner.backend_choice import Wishes, backend_here

if TYPE_CHECKING:
    from edgegen.evaluate.settings import EvaluateSettings

IMAGES, RESTARTS = 12, 3
MORE_IMAGES, MORE_RESTARTS = 48, 6
_SUITES = ("known",)


def known(task: Task, cache: Cache) -> Done | None:
    """Return what is kept of a task; None for one that is to be done."""
    if isinstance(task, BuildTask):
        return _known_package(task, cache)
    if isinstance(task, MeasureTask):
        measurement = cache.measurement(task.key)
        if measurement is None or _lacks_sustained(task, cache):
            return None
        return _measured(task, measurement, cache, from_cache=True, wall_s=0.0)
    evaluation = cache.evaluation(task.key)
    if evaluation is None:
        return None
    return _judged(task, evaluation, cache, from_cache=True, wall_s=0.0)


def build(tasks: Sequence[BuildTask], cache: Cache, progress: Progress) -> list[Done]:
    """Build packages of one model together; what is there already is taken."""
    with ExitStack() as locks:
        for key in sorted({task.key for task in tasks}):
            locks.enter_context(cache.locked("packages", key))
        found = {task.key: _known_package(task, cache) for task in tasks}
        wanted = [task for task in tasks if found[task.key] is None]
        if wanted:
            found.update(_build(wanted, cache, progress))
    return [done for task in tasks if (done := found[task.key]) is not None]


def _known_package(task: BuildTask, cache: Cache) -> Done | None:
    manifest = cache.package(task.key)
    if manifest is not None:
        return _built(task, manifest, cache, from_cache=True, wall_s=0.0)
    failure = cache.failure(task.key)
    if failure is None:
        return None
    return Done(
        key=task.key,
        failed=failure.message,
        kind=failure.kind,
        hint=failure.hint,
        from_cache=True,
    )


def _build(tasks: Sequence[BuildTask], cache: Cache, progress: Progress) -> dict[str, Done | None]:
    started_s = time.monotonic()
    model = resolved(tasks[0].model, progress)
    read = {
        interval: read_facts(model, cache_interval=interval)
        for interval in sorted({task.cache_interval for task in tasks})
    }
    plans: list[BuildPlan] = []
    for task in tasks:
        facts = read[task.cache_interval]
        made = make_candidate(
            facts,
            load_target(task.target),
            task.recipe,
            profile=task.profile,
            width=task.width,
            height=task.height,
        )
        plans.append(
            BuildPlan(
                candidate=made,
                prediction=predict(made, facts),
                model=facts.folder,
                destination=cache.package_place(task.key),
                force=True,
            )
        )
    outcomes = build_all(plans, progress=progress).packages
    share_s = (time.monotonic() - started_s) / len(tasks)
    found: dict[str, Done | None] = {}
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, Built):
            cache.made(outcome.path)
            found[task.key] = _built(
                task, outcome.manifest, cache, from_cache=False, wall_s=share_s
            )
            continue
        if isinstance(outcome, ExportError):  # it fails each time; a full disk does not
            failure = Failure(
                kind=type(outcome).__name__, message=outcome.message, hint=outcome.hint
            )
            cache.keep_failure(task.key, failure)
        found[task.key] = failed(task.key, outcome, share_s)
    return found


def _built(
    task: BuildTask, manifest: PackageManifest, cache: Cache, *, from_cache: bool, wall_s: float
) -> Done:
    place = cache.package_place(task.key)
    return Done(
        key=task.key,
        figures={"size": exact(float(package_bytes(place, manifest)), source="its files")},
        from_cache=from_cache,
        wall_s=wall_s,
        place=str(place.relative_to(cache.folder)),
    )


def package_bytes(place: Path, manifest: PackageManifest) -> int:
    """Return what a package takes: its files and its manifest."""
    files = sum(artifact.size_bytes for artifact in manifest.files)
    return files + (place / MANIFEST_NAME).stat().st_size


def take_measurement(task: MeasureTask, cache: Cache, progress: Progress) -> Done:
    """Measure a package on its device, or take what was measured of it there before."""
    with cache.locked("measurements", task.key):
        found = known(task, cache)
        if found is not None:
            return found
        measured = cache.measurement(task.key)
        started_s = time.monotonic()
        package = Path(task.package)
        try:
            if measured is None:
                measured = _measure(task, package, cache, task.key, None, progress)
            if _lacks_sustained(task, cache):
                _measure(task, package, cache, sustained_key(task), task.sustained_s, progress)
        except EdgegenError as error:
            return failed(task.key, error, time.monotonic() - started_s)
        wall_s = time.monotonic() - started_s
        return _measured(task, measured, cache, from_cache=False, wall_s=wall_s)


def sustained_key(task: MeasureTask) -> str:
    """Return the key of the long run that goes with a measurement."""
    return f"{task.key}-sustained"


def _lacks_sustained(task: MeasureTask, cache: Cache) -> bool:
    return task.sustained_s is not None and cache.measurement(sustained_key(task)) is None


def _measure(
    task: MeasureTask,
    package: Path,
    cache: Cache,
    key: str,
    sustained_s: float | None,
    progress: Progress,
) -> Measurement:
    settings = bench_settings(task, sustained_s)
    planned = plan_bench(package, settings)
    try:
        with attach(task.device, task.root) as device:
            measurement = measure(planned, progress, device=device, patience_s=task.patience_s)
    except CutShortError as cut:
        cache.keep_measurement(key, cut.measurement)
        if isinstance(cut.__cause__, KeyboardInterrupt | SystemExit):
            raise cut.__cause__ from cut
        if isinstance(cut.__cause__, EdgegenError):
            raise cut.__cause__ from cut
        raise
    cache.keep_measurement(key, measurement)
    return measurement


def bench_settings(task: MeasureTask, sustained_s: float | None = None) -> BenchSettings:
    """Return how a package is measured: as `edgegen bench` does it, by the effort."""
    more = task.effort == "more"
    return BenchSettings(
        images=MORE_IMAGES if more else IMAGES,
        restarts=MORE_RESTARTS if more else RESTARTS,
        profile=task.profile,
        quick=task.effort == "look",
        sustained_s=sustained_s,
        steps=task.steps,
        width=task.width,
        height=task.height,
    )


def _measured(
    task: MeasureTask, known: Measurement, cache: Cache, *, from_cache: bool, wall_s: float
) -> Done:
    figures = glimpse_of(known) if task.effort == "look" else figures_of(known)
    if task.sustained_s is not None:
        sustained = cache.measurement(sustained_key(task))
        slowdown = None if sustained is None else slowdown_of(sustained)
        if slowdown is not None and slowdown.value is not None:
            figures["slowdown"] = slowdown
    return Done(
        key=task.key,
        figures=figures,
        step_s=step_of(known),
        from_cache=from_cache,
        wall_s=wall_s,
        place=str(cache.measurement_place(task.key).relative_to(cache.folder)),
    )


def evaluate(task: EvaluateTask, cache: Cache, progress: Progress) -> Done:
    """Judge a package's pictures beside its model's, or take the judgement that is there.

    A pruned model's are held against its original's. They are computed in the device's type where
    this machine has that.
    """
    from edgegen.evaluate.run import evaluate_package

    def judge(pictures: Path) -> Evaluation:
        package, arithmetic = Path(task.package), task.arithmetic
        if arithmetic not in (None, *_arithmetics_here(load_manifest(package).runs_as)):
            arithmetic = None
        return evaluate_package(
            package,
            model=resolved(task.model, progress),
            settings=replace(_settings_of(task), arithmetic=arithmetic),
            progress=progress,
            pictures_dir=pictures,
            against=_original(task, progress),
        )

    return _evaluated(task, judge, cache)


@functools.cache
def _arithmetics_here(target: str) -> tuple[Arithmetic, ...]:
    """Return the types in which this machine's runtime computes a target's packages."""
    return arithmetics_of(backend_here(target, Wishes()))


def probe(task: ProbeTask, cache: Cache, progress: Progress) -> Done:
    """Judge what a model itself draws in other steps, in torch."""
    from edgegen.evaluate.run import evaluate_model

    def judge(pictures: Path) -> Evaluation:
        return evaluate_model(
            resolved(task.model, progress),
            settings=_settings_of(task),
            progress=progress,
            against=_original(task, progress),
        )

    return _evaluated(task, judge, cache)


def _original(task: EvaluateTask | ProbeTask, progress: Progress) -> ModelFolder | None:
    return None if task.against is None else resolved(task.against, progress)


def _settings_of(task: EvaluateTask | ProbeTask) -> EvaluateSettings:
    from edgegen.evaluate.settings import EvaluateSettings

    return EvaluateSettings(
        suites=_SUITES,
        pictures=task.pictures,
        # a package has its own
        guidance_stop=task.guidance_stop if isinstance(task, ProbeTask) else None,
        cache_interval=task.cache_interval if isinstance(task, ProbeTask) else None,
        steps=task.steps,
        width=task.width,
        height=task.height,
    )


def _evaluated(
    task: EvaluateTask | ProbeTask, judge: Callable[[Path], Evaluation], cache: Cache
) -> Done:
    key = task.key
    with cache.locked("evaluations", key):
        started_s = time.monotonic()
        found = cache.evaluation(key)
        if found is not None:
            return _judged(task, found, cache, from_cache=True, wall_s=0.0)
        try:
            found = judge(cache.evaluation_place(key))
        except EdgegenError as error:
            return failed(key, error, time.monotonic() - started_s)
        cache.keep_evaluation(key, found)
        wall_s = time.monotonic() - started_s
    return _judged(task, found, cache, from_cache=False, wall_s=wall_s)


def _judged(
    task: EvaluateTask | ProbeTask,
    evaluation: Evaluation,
    cache: Cache,
    *,
    from_cache: bool,
    wall_s: float,
) -> Done:
    from edgegen.evaluate.summary import quality_figures

    doubt = ""
    if isinstance(task, EvaluateTask) and evaluation.arithmetic != task.arithmetic:
        doubt = (
            f"The pictures of {evaluation.target} packages were judged in float32: nothing here "
            f"computes them in {task.arithmetic}, as the device does."
        )
    return Done(
        key=task.key,
        figures=dict(quality_figures(evaluation)),
        from_cache=from_cache,
        wall_s=wall_s,
        place=str(cache.evaluation_place(task.key).relative_to(cache.folder)),
        doubt=doubt,
    )


def failed(key: str, error: EdgegenError, wall_s: float) -> Done:
    """Return what came of a task that failed."""
    return Done(
        key=key, failed=error.message, kind=type(error).__name__, hint=error.hint, wall_s=wall_s
    )


def resolved(model: ModelRef, progress: Progress) -> ModelFolder:
    """Return a model's folder on this machine."""
    if model.folder is not None:
        return ModelFolder(
            path=Path(model.folder),
            source=model.source,
            revision=model.revision,
            variant=model.variant,
        )
    return resolve(
        model.source,
        revision=model.revision,
        variant=model.variant,
        reading=model.reading or AS_IT_IS,
        progress=progress,
    )


def ref_of(model: ModelFolder) -> ModelRef:
    """Return what another process needs to find a model again."""
    # of adapted models the source means the one without adapters, of those made here no place
    by_path = bool(facts_of_adapters(model.path)) or model.is_made_here
    return ModelRef(
        source=model.source,
        revision=model.revision,
        variant=model.variant,
        folder=str(model.path) if by_path else None,
        reading=None if model.reading == AS_IT_IS else model.reading,
    )


def profile_name(profile: DeviceProfile | None) -> str | None:
    """Return the name of a profile, None without one."""
    return None if profile is None else profile.name
