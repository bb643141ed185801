"""Parity in three layers: components, trajectory, image; whatever cannot be compared has failed.

The reference is a golden case, which torch computed in a process of its own. The artifact's side is
the runner that devices use, in another: neither is ever in this process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen_runner.metrics import Array
from edgegen_runner.png import to_float32, to_uint8

from edgegen.compress.codecs import CODECS
from edgegen.core.errors import EdgegenError, IntegrityError, ParityError, RunnerError
from edgegen.core.files import inside
from edgegen.core.memory import PeakSampler
from edgegen.core.package import (
    GoldenCase,
    PackagedComponent,
    PackageManifest,
    ParityCheck,
    StageCost,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.recipe import Arithmetic, Tolerance
from edgegen.core.scratch import ScratchFolder
from edgegen.parity.compare import Layer, compare, failed
from edgegen.parity.side import ArtifactSide, Draw, Outcome, Probe, Task
from edgegen.reference import golden

STAGE = "parity"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRun:
    """Every check of a package, and what they cost; and the picture, where one was wanted."""

    checks: tuple[ParityCheck, ...]
    cost: StageCost
    picture: Outcome = None

    @property
    def passed(self) -> bool:
        """Return whether there were checks, and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def check_package(
    package: Path,
    manifest: PackageManifest,
    *,
    case: GoldenCase | None = None,
    folder: Path | None = None,
    artifact: ArtifactSide | None = None,
    picture: Draw | None = None,
    progress: Progress | None = None,
) -> ParityRun:
    """Compare a package with a golden case: its own, unless `case` and its `folder` are given.

    A package that was compiled for several chips is compared with the contexts of each, unless an
    `artifact` is given. Where a `picture` is wanted it is drawn last, with the runtime that is
    there and the first chip's contexts, and in no check. A
    check that failed is part of the result; `require` makes an error of it. Raises IntegrityError
    where there is no golden case, or it is not whole.
    """
    chips = [it.chip for it in manifest.compiled]
    if artifact is not None or len(chips) < 2:
        return _check(package, manifest, case, folder, artifact, picture, progress)
    runs = []
    for number, chip in enumerate(chips):
        side = _runner_side(package, chip)
        drawn = picture if number == 0 else None
        run = _check(package, manifest, case, folder, side, drawn, progress)
        runs.append(replace(run, checks=tuple(replace(it, chip=chip) for it in run.checks)))
    peaks = [it.cost.peak_memory_bytes for it in runs if it.cost.peak_memory_bytes is not None]
    return ParityRun(
        checks=tuple(check for run in runs for check in run.checks),
        cost=StageCost(
            stage=STAGE,
            wall_s=sum(it.cost.wall_s for it in runs),
            cpu_s=sum(it.cost.cpu_s for it in runs),
            peak_memory_bytes=max(peaks, default=None),
        ),
        picture=runs[0].picture,
    )


def _check(
    package: Path,
    manifest: PackageManifest,
    case: GoldenCase | None,
    folder: Path | None,
    artifact: ArtifactSide | None,
    picture: Draw | None,
    progress: Progress | None,
) -> ParityRun:
    """Compare a package once; see `check_package`."""
    case = case or manifest.golden
    if case is None:
        raise IntegrityError(
            f"{package} has no golden case to compare it with.",
            hint="Build the package again, or compare it with its model: edgegen verify --full.",
        )
    folder = folder or inside(package, case.folder)
    side = artifact or _runner_side(package)
    steps = golden.count_trajectory(folder)
    if steps == 0:
        raise IntegrityError(f"{folder} has no trajectory.", hint="Build the package again.")
    tolerance = manifest.recipe.tolerance
    checks: list[ParityCheck] = []
    started_s, cpu_started_s = time.monotonic(), time.process_time()
    total = len(manifest.components) + 1 + (picture is not None)
    with (
        (progress or SilentProgress()).step("parity", total=total, unit="items") as step,
        ScratchFolder("parity") as scratch,
    ):
        probes = [
            _prepare_probe(component, folder, scratch / str(index))
            for index, component in enumerate(manifest.components)
        ]
        run = Draw(case=case, pictures=folder, place=_made(scratch / "run"))
        tasks: list[Task] = [*probes, run]
        if picture is not None:
            tasks.append(picture)
        with closing(side.work(tasks)) as outcomes:
            with PeakSampler() as sampler:
                for component, probe in zip(manifest.components, probes, strict=True):
                    step.describe(component.spec.name)
                    why = _why(next(outcomes))
                    checks += _check_component(component, folder, probe, tolerance, why)
                    step.advance()
                step.describe("trajectory and image")
                checks += _check_run(next(outcomes), folder, run.place, steps, tolerance)
                step.advance()
            cost = StageCost(
                stage=STAGE,
                wall_s=time.monotonic() - started_s,
                cpu_s=time.process_time() - cpu_started_s + side.cpu_s,
                peak_memory_bytes=sampler.peak_pss_bytes,
            )
            drawn: Outcome = None
            if picture is not None:
                step.describe("picture")
                drawn = next(outcomes)
                step.advance()
    return ParityRun(checks=tuple(checks), cost=cost, picture=drawn)


def require(
    run: ParityRun, manifest: PackageManifest, arithmetic: Arithmetic | None = None
) -> None:
    """Raise ParityError, which names the worst check and what to try, unless all passed.

    `arithmetic` is the type in which it was computed, None for the recipe's own.
    """
    failures = [check for check in run.checks if not check.passed]
    other = arithmetic not in (None, manifest.recipe.compute)
    if run.passed:
        return
    if not failures:
        raise ParityError("Nothing was compared.", hint="Build the package again.")
    worst = worst_check(failures)
    more = f" ({len(failures)} of {len(run.checks)} checks failed)" if len(failures) > 1 else ""
    raise ParityError(
        f"The package does not compute what its model computes: {worst.layer} {worst.name}"
        f"{'' if worst.chip is None else f', on {worst.chip}'}: "
        f"{worst.why}{more}.",
        hint=f"It was computed in {arithmetic}: leave --arithmetic out, or take a recipe that "
        "promises less."
        if other
        else _advice(manifest),
    )


def worst_check(checks: Iterable[ParityCheck]) -> ParityCheck:
    """Return the check that tells most: one that failed, of the earliest layer, furthest off.

    A component that is wrong makes the trajectory and the image wrong as well.
    """
    order = {"component": 0, "trajectory": 1, "image": 2}

    def rank(check: ParityCheck) -> tuple[bool, int, float]:
        margin_db = math.inf if check.passed else -math.inf
        if check.psnr_db is not None:
            margin_db = check.psnr_db - check.threshold_db
        return check.passed, order.get(check.layer, 0), margin_db

    return min(checks, key=rank)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _prepare_probe(component: PackagedComponent, folder: Path, place: Path) -> Probe:
    """Write the inputs of a component's probe, and make room for its outputs."""
    inputs = _made(place / "in")
    for tensor, value in golden.read_inputs(folder, component.spec).items():
        golden.write_array(inputs, f"{tensor}.npy", value)
    return Probe(component=component.spec.name, inputs=inputs, outputs=_made(place / "out"))


def _why(outcome: Outcome) -> str:
    """Return why a task has no result, empty where it has; raise what is no fault of a runtime."""
    if not isinstance(outcome, EdgegenError):
        return ""
    if not isinstance(outcome, RunnerError):
        raise outcome
    return f"the runner failed: {outcome.message}"


def _check_component(
    component: PackagedComponent, folder: Path, probe: Probe, tolerance: Tolerance, why: str
) -> list[ParityCheck]:
    return [
        _check_file(
            "component",
            f"{component.spec.name}.{tensor}",
            reference,
            probe.outputs / f"{tensor}.npy",
            threshold_db=tolerance.component_psnr_db,
            why=why,
        )
        for tensor, reference in golden.read_outputs(folder, component.spec).items()
    ]


def _check_run(
    outcome: Outcome, folder: Path, place: Path, steps: int, tolerance: Tolerance
) -> list[ParityCheck]:
    why = _why(outcome)
    checks = [
        _check_file(
            "trajectory",
            f"step {index}",
            golden.read_array(folder, golden.trajectory_name(index)),
            place / f"{index}.npy",
            threshold_db=tolerance.trajectory_psnr_db,
            why=why,
        )
        for index in range(steps)
    ]
    written = len(list(place.glob("*.npy")))
    if not why and written != steps:
        said = f"the runner made {written} steps, torch {steps}"
        checks.append(
            failed("trajectory", "steps", said, threshold_db=tolerance.trajectory_psnr_db)
        )
    threshold_db = tolerance.image_psnr_db
    if outcome is None or isinstance(outcome, EdgegenError):
        return [*checks, failed("image", "pixels", why, threshold_db=threshold_db)]
    try:
        reference = to_float32(to_uint8(golden.read_array(folder, golden.IMAGE_NAME)))
    except ValueError as error:  # of a package that somebody else made
        said = f"the golden image is none: {error}"
        return [*checks, failed("image", "pixels", said, threshold_db=threshold_db)]
    value = to_float32(outcome[None])
    return [*checks, compare("image", "pixels", reference, value, threshold_db=threshold_db)]


def _check_file(
    layer: Layer, name: str, reference: Array, path: Path, *, threshold_db: float, why: str
) -> ParityCheck:
    if not path.exists():
        return failed(layer, name, why or "there is no output", threshold_db=threshold_db)
    try:
        value = golden.read_array(path.parent, path.name)
    except IntegrityError:
        said = "the output is no array of float32 or int64"
        return failed(layer, name, said, threshold_db=threshold_db)
    return compare(layer, name, reference, value, threshold_db=threshold_db)


def _runner_side(package: Path, chip: str | None = None) -> ArtifactSide:
    from edgegen.parity.runner_side import RunnerSide

    return RunnerSide(package, chip=chip)


def _advice(manifest: PackageManifest) -> str:
    recipe = manifest.recipe
    if recipe.compute == "float16":
        return (
            f"The recipe {recipe.name} computes in float16: try --recipe fp16-storage, which keeps "
            "the weights in float16 and computes in float32."
        )
    bits = CODECS[recipe.storage].bits if recipe.storage in CODECS else 32
    if bits < 16:
        return (
            f"The recipe {recipe.name} rounds weights to {bits} bits: try --recipe fp16-storage, "
            "or give the layers that need it another storage by a rule of a recipe of your own."
        )
    if bits == 16:
        return f"The recipe {recipe.name} stores float16: try --recipe fp32."
    return "Nothing was rounded, so this is a defect of the conversion: please report the model."
