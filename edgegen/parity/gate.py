"""Parity in three layers: components, trajectory, image; whatever cannot be compared has failed.

The reference is a golden case, which torch computed in a process of its own. The artifact's side is
the runner that devices use, in another: neither is ever in this process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgegen_runner.metrics import Array
from edgegen_runner.png import to_float32, to_uint8

from edgegen.compress.codecs import CODECS
from edgegen.core.errors import IntegrityError, ParityError, RunnerError
from edgegen.core.files import inside
from edgegen.core.memory import PeakSampler
from edgegen.core.package import (
    GoldenCase,
    PackagedComponent,
    PackageManifest,
    ParityCheck,
    StageCost,
)
from edgegen.core.progress import Progress, SilentProgress, Step
from edgegen.core.recipe import Tolerance
from edgegen.core.scratch import ScratchFolder
from edgegen.parity.compare import Layer, compare, failed
from edgegen.reference import golden

STAGE = "parity"


class ArtifactSide(Protocol):
    """Computes with a package's artifacts. Both raise RunnerError where they cannot."""

    def probe(self, component: str, inputs: Path, outputs: Path) -> None:
        """Run a component on the `<input>.npy` of a folder; write `<output>.npy` to another."""
        ...

    def generate(self, case: GoldenCase, pictures: Path, trajectory: Path) -> Array:
        """Run the golden case and return its image's pixels, uint8 (height, width, channels).

        `pictures` holds what the run starts from. The latents after each call of the scheduler go
        to `trajectory`, as `<call>.npy`.
        """
        ...

    @property
    def cpu_s(self) -> float:
        """Return the processor seconds of the processes that have ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRun:
    """Every check of a package, and what they cost."""

    checks: tuple[ParityCheck, ...]
    cost: StageCost

    @property
    def passed(self) -> bool:
        """Say whether there were checks, and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def check_package(
    package: Path,
    manifest: PackageManifest,
    *,
    case: GoldenCase | None = None,
    folder: Path | None = None,
    artifact: ArtifactSide | None = None,
    progress: Progress | None = None,
) -> ParityRun:
    """Compare a package with a golden case: its own, unless `case` and its `folder` are given.

    A check that failed is part of the result; `require` makes an error of it. Raises IntegrityError
    where there is no golden case, or it is not whole.
    """
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
    total = len(manifest.components) + 1
    with (
        PeakSampler() as sampler,
        (progress or SilentProgress()).step("parity", total=total, unit="items") as step,
        ScratchFolder("parity") as scratch,
    ):
        for index, component in enumerate(manifest.components):
            step.describe(component.spec.name)
            place = scratch / str(index)
            checks += _check_component(side, component, folder, place, tolerance)
            step.advance()
        place = scratch / "run"
        checks += _check_run(side, case, folder, place, steps, tolerance, step)
        step.advance()
    cost = StageCost(
        stage=STAGE,
        wall_s=time.monotonic() - started_s,
        cpu_s=time.process_time() - cpu_started_s + side.cpu_s,
        peak_memory_bytes=sampler.peak_pss_bytes,
    )
    return ParityRun(checks=tuple(checks), cost=cost)


def require(run: ParityRun, manifest: PackageManifest) -> None:
    """Raise ParityError, which names the worst check and what to try, unless all passed."""
    failures = [check for check in run.checks if not check.passed]
    if run.passed:
        return
    if not failures:
        raise ParityError("Nothing was compared.", hint="Build the package again.")
    worst = worst_check(failures)
    more = f" ({len(failures)} of {len(run.checks)} checks failed)" if len(failures) > 1 else ""
    raise ParityError(
        f"The package does not compute what its model computes: {worst.layer} {worst.name}: "
        f"{worst.why}{more}.",
        hint=_advice(manifest),
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


def _check_component(
    side: ArtifactSide,
    component: PackagedComponent,
    folder: Path,
    place: Path,
    tolerance: Tolerance,
) -> list[ParityCheck]:
    name = component.spec.name
    probe = golden.read_probe(folder, component.spec)
    inputs, outputs = place / "in", place / "out"
    inputs.mkdir(parents=True)
    outputs.mkdir()
    for tensor, value in probe.inputs.items():
        golden.write_array(inputs, f"{tensor}.npy", value)
    why = ""
    try:
        side.probe(name, inputs, outputs)
    except RunnerError as error:
        why = f"the runner failed: {error.message}"
    return [
        _check_file(
            "component",
            f"{name}.{tensor}",
            reference,
            outputs / f"{tensor}.npy",
            threshold_db=tolerance.component_psnr_db,
            why=why,
        )
        for tensor, reference in probe.outputs.items()
    ]


def _check_run(
    side: ArtifactSide,
    case: GoldenCase,
    folder: Path,
    place: Path,
    steps: int,
    tolerance: Tolerance,
    step: Step,
) -> list[ParityCheck]:
    step.describe("trajectory and image")
    place.mkdir(parents=True)
    why = ""
    pixels: Array | None = None
    try:
        pixels = side.generate(case, folder, place)
    except RunnerError as error:
        why = f"the runner failed: {error.message}"
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
    if pixels is None:
        return [*checks, failed("image", "pixels", why, threshold_db=threshold_db)]
    reference = to_float32(to_uint8(golden.read_array(folder, golden.IMAGE_NAME)))
    value = to_float32(pixels[None])
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


def _runner_side(package: Path) -> ArtifactSide:
    from edgegen.parity.runner_side import RunnerSide

    return RunnerSide(package)


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
