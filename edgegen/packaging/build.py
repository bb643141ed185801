"""Builds a planned package: convert, copy, hash, compare with torch, rename into place."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgegen import __version__
from edgegen.core.codec import dump_json
from edgegen.core.files import sha256_of, translate_disk_errors
from edgegen.core.folders import state_folder
from edgegen.core.package import (
    EVIDENCE_NAME,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Artifact,
    Evidence,
    GoldenCase,
    ModelSource,
    PackagedComponent,
    PackageManifest,
    ParityCheck,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.scratch import utf8_name
from edgegen.core.staging import staged_folder
from edgegen.exporters.base import ExportJob, ExportResult
from edgegen.exporters.companions import write_companions
from edgegen.exporters.convert import Conversion, convert
from edgegen.packaging.drawing import write_scheduler
from edgegen.packaging.plan import BuildPlan
from edgegen.packaging.replace import require_replaceable
from edgegen.packaging.small_files import copy_small_files, write_config
from edgegen.packaging.source_hash import weights_sha256
from edgegen.parity.gate import check_package, require
from edgegen.reference.calibrate import Calibrated, make_calibration
from edgegen.reference.run import make_golden

GOLDEN_FOLDER = "golden"
CALIBRATION_NAME = "calibration.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A package that stands in its place, what was measured, and what to know of its model."""

    path: Path
    manifest: PackageManifest
    evidence: Evidence
    warnings: tuple[str, ...] = ()


def build(
    plan: BuildPlan,
    *,
    parity: bool = True,
    accept_failure: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Build a package beside its place and rename it there.

    Without `parity` nothing is compared with torch, and the package has no golden case. With
    `accept_failure` a package that failed is written all the same, and says so.

    Raises ParityError for a package that does not compute what its model computes, and whatever
    the stages raise; the destination is then as it was.
    """
    shown = progress or SilentProgress()
    with (
        _logs() as logs,
        staged_folder(
            plan.destination, check=partial(require_replaceable, force=plan.force)
        ) as staged,
        utf8_name(staged) as staging,
        utf8_name(plan.model) as model,
    ):
        plan = replace(plan, model=model)
        calibrated = _calibrate(plan, logs, shown)
        conversion = _convert(plan, staging, logs, shown, calibrated)
        costs = [*([] if calibrated is None else [calibrated.cost]), *conversion.costs]
        copy_small_files(plan.model, staging)
        write_scheduler(plan.spec, staging)
        companions = write_companions(
            plan.target.name,
            staging,
            text_length=plan.spec.generation.text_length,
            progress=shown,
            log=logs / "companions.log",
        )
        costs += companions.costs
        golden: GoldenCase | None = None
        if parity:
            made = make_golden(
                replace(plan.spec, components=plan.components),
                plan.model,
                staging / GOLDEN_FOLDER,
                progress=shown,
                log=logs / "reference.log",
            )
            golden = made.case
            costs.append(made.cost)
        toolkits = companions.toolkits
        manifest = _manifest(plan, staging, conversion.results, toolkits, golden, shown)
        _write(staging / MANIFEST_NAME, dump_json(manifest))
        checks: tuple[ParityCheck, ...] = ()
        if parity:
            run = check_package(staging, manifest, progress=shown)
            checks = run.checks
            costs.append(run.cost)
            if not run.passed:
                if not accept_failure:
                    require(run, manifest)
                manifest = replace(manifest, parity_failed=True)
                _write(staging / MANIFEST_NAME, dump_json(manifest))
        evidence = Evidence(
            manifest_sha256=sha256_of(staging / MANIFEST_NAME),
            parity=checks,
            costs=tuple(costs),
        )
        _write(staging / EVIDENCE_NAME, dump_json(evidence))
    return Built(
        path=plan.destination, manifest=manifest, evidence=evidence, warnings=conversion.warnings
    )


def _calibrate(plan: BuildPlan, logs: Path, progress: Progress) -> Calibrated | None:
    """Measure the ranges of activations, where the recipe quantizes them ahead of time."""
    if not plan.recipe.needs_calibration:
        return None
    return make_calibration(
        plan.spec,
        plan.model,
        logs / CALIBRATION_NAME,
        progress=progress,
        log=logs / "calibration.log",
    )


def _convert(
    plan: BuildPlan, staging: Path, logs: Path, progress: Progress, calibrated: Calibrated | None
) -> Conversion:
    jobs = []
    for component in plan.components:
        folder = staging / component.name
        folder.mkdir()
        source = plan.model / component.folder
        write_config(source, folder, component.class_name)
        jobs.append(
            ExportJob(
                target=plan.target.name,
                component=component,
                source=str(source.absolute()),
                destination=str(folder.absolute()),
                recipe=plan.recipe,
                operators=plan.operators,
                shapes=plan.shapes,
                calibration=None if calibrated is None else str(calibrated.path.absolute()),
                minimum_os=plan.minimum_os,
                attention=plan.attention,
                file_limit_bytes=plan.file_limit_bytes,
            )
        )
    return convert(
        jobs, progress=progress, expected_bytes=plan.storage_bytes, log=logs / "convert.log"
    )


def _manifest(
    plan: BuildPlan,
    staging: Path,
    converted: Mapping[str, ExportResult],
    companions: Mapping[str, str],
    golden: GoldenCase | None,
    progress: Progress,
) -> PackageManifest:
    operator_sets: dict[str, int] = {}
    toolkits: dict[str, str] = {"edgegen": __version__, "python": platform.python_version()}
    toolkits.update(companions)
    for item in converted.values():
        operator_sets.update(item.operator_sets)
        toolkits.update(item.toolkits)
    return PackageManifest(
        schema_version=SCHEMA_VERSION,
        source=ModelSource(
            model=_source_name(plan),
            revision=plan.spec.revision,
            weights_sha256=weights_sha256(plan.model, plan.components, progress),
            licence=plan.spec.licence,
            variant=plan.spec.variant,
        ),
        family=plan.spec.family,
        facts=plan.spec.facts,
        pipeline_class=plan.spec.pipeline_class,
        generation=plan.spec.generation,
        components=tuple(
            PackagedComponent(
                spec=component,
                path=f"{component.name}/{converted[component.name].path}",
                storage_bytes=converted[component.name].storage_bytes,
            )
            for component in plan.components
        ),
        target=plan.target.name,
        profile=None if plan.profile is None else plan.profile.name,
        recipe=plan.recipe,
        operators=plan.operators,
        shapes=plan.shapes,
        operator_sets=operator_sets,
        toolkits=toolkits,
        scheduler=plan.spec.scheduler,
        files=_files(staging, progress),
        golden=golden,
    )


def _files(staging: Path, progress: Progress) -> tuple[Artifact, ...]:
    paths = sorted(path for path in staging.rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in paths)
    artifacts = []
    with progress.step("hashing the package", total=total, unit="bytes") as step:
        for path in paths:
            size = path.stat().st_size
            artifacts.append(
                Artifact(
                    path=path.relative_to(staging).as_posix(),
                    sha256=sha256_of(path),
                    size_bytes=size,
                )
            )
            step.advance(size)
    return tuple(artifacts)


def _source_name(plan: BuildPlan) -> str:
    """Return what the user called the model; of a local folder only its name.

    The same model packaged on two machines has to give the same bytes.
    """
    path = Path(plan.spec.source)
    if not path.exists():
        return plan.spec.source
    return os.fsencode(path.resolve().name).decode("utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def _logs() -> Iterator[Path]:
    """Yield a folder for the workers' logs; it is kept where the build fails."""
    folder = state_folder() / "logs" / f"package-{os.getpid()}"
    with translate_disk_errors(folder, setting="EDGEGEN_STATE_DIR"):
        folder.mkdir(parents=True, exist_ok=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
