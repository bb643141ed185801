"""Makes a package of components that were converted: small files, manifest, parity, evidence."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen import __version__
from edgegen.core.codec import dump_json
from edgegen.core.files import sha256_of
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
    StageCost,
)
from edgegen.core.progress import Progress
from edgegen.core.reading import Reading
from edgegen.exporters.base import ExportResult
from edgegen.exporters.companions import write_companions
from edgegen.exporters.convert import Conversion
from edgegen.packaging.compiled import compiled_for, compiler_needs
from edgegen.packaging.drawing import write_scheduler
from edgegen.packaging.plan import BuildPlan
from edgegen.packaging.runtime_versions import needs_of
from edgegen.packaging.small_files import copy_small_files
from edgegen.parity.gate import check_package, require
from edgegen.parity.side import Draw, Outcome
from edgegen.runner.runtimes import emulated_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the packages of one model have in common: its hash, and what was spent for all of them.

    `golden` is the golden case that lies in each package's folder; without one nothing is compared
    with torch. With `accept_failure` a package that failed is kept, and says so.
    """

    weights_sha256: str
    golden: GoldenCase | None
    accept_failure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A package that is complete, and what it drew of the picture that was wanted, or why not."""

    manifest: PackageManifest
    evidence: Evidence
    drawn: Outcome


def assemble(
    plan: BuildPlan,
    staging: Path,
    conversion: Conversion,
    shared: Shared,
    costs: Sequence[StageCost],
    *,
    picture: Draw | None,
    progress: Progress,
    log: Path,
) -> Assembled:
    """Complete a package in `staging`, which holds its components and its golden case.

    `costs` are those of what was done before. A `picture` is drawn once all has been compared, for
    the runtime is there. Raises ParityError for a package that does not
    compute what its model computes, and whatever the stages raise.
    """
    copy_small_files(plan.model, staging)
    write_scheduler(plan.candidate.spec, staging)
    companions = write_companions(
        plan.candidate.target.name,
        staging,
        text_length=plan.candidate.spec.generation.text_length,
        progress=progress,
        log=log,
    )
    costs = [*costs, *companions.costs]
    manifest = _manifest(plan, staging, conversion.results, companions.toolkits, shared, progress)
    _write(staging / MANIFEST_NAME, dump_json(manifest))
    checks: tuple[ParityCheck, ...] = ()
    drawn: Outcome = None
    if shared.golden is not None:
        run = check_package(staging, manifest, picture=picture, progress=progress)
        checks, drawn = run.checks, run.picture
        costs = [*costs, run.cost]
        if not run.passed:
            if not shared.accept_failure:
                require(run, manifest)
            manifest = replace(manifest, parity_failed=True)
            _write(staging / MANIFEST_NAME, dump_json(manifest))
    evidence = Evidence(
        manifest_sha256=sha256_of(staging / MANIFEST_NAME),
        parity=checks,
        costs=tuple(costs),
        emulated=bool(checks) and emulated_here(manifest.runs_as),
    )
    _write(staging / EVIDENCE_NAME, dump_json(evidence))
    return Assembled(manifest=manifest, evidence=evidence, drawn=drawn)


def _manifest(
    plan: BuildPlan,
    staging: Path,
    converted: Mapping[str, ExportResult],
    companions: Mapping[str, str],
    shared: Shared,
    progress: Progress,
) -> PackageManifest:
    operator_sets: dict[str, int] = {}
    toolkits: dict[str, str] = {"edgegen": __version__, "python": platform.python_version()}
    toolkits.update(companions)
    for item in converted.values():
        operator_sets.update(item.operator_sets)
        toolkits.update(item.toolkits)
    compiled = compiled_for(plan.candidate.runtime.chips, converted)
    return PackageManifest(
        schema_version=SCHEMA_VERSION,
        source=ModelSource(
            model=_source_name(plan),
            revision=plan.candidate.spec.revision,
            weights_sha256=shared.weights_sha256,
            licence=plan.candidate.spec.licence,
            variant=plan.candidate.spec.variant,
            adapters=plan.candidate.spec.adapters,
            reading=_said(plan.candidate.spec.reading),
            form=plan.candidate.spec.form,
        ),
        family=plan.candidate.spec.family,
        facts=plan.candidate.spec.facts,
        pipeline_class=plan.candidate.spec.pipeline_class,
        generation=plan.candidate.spec.generation,
        components=tuple(
            PackagedComponent(
                spec=component,
                path=f"{component.name}/{converted[component.name].path}",
                storage_bytes=converted[component.name].storage_bytes,
                natives=converted[component.name].natives,
                lora_inputs=converted[component.name].lora_inputs,
            )
            for component in plan.candidate.components
        ),
        target=plan.candidate.target.name,
        profile=None if plan.candidate.profile is None else plan.candidate.profile.name,
        recipe=plan.candidate.recipe,
        operators=plan.candidate.runtime.operators,
        shapes=plan.candidate.runtime.shapes,
        operator_sets=operator_sets,
        toolkits=toolkits,
        scheduler=plan.candidate.spec.scheduler,
        files=_files(staging, progress),
        golden=shared.golden,
        runtime_since=(
            *needs_of(plan.candidate.recipe, plan.candidate.target),
            *compiler_needs(compiled),
        ),
        compiled=compiled,
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
    spec = plan.candidate.spec
    original = spec.original or ""
    if original and spec.source.startswith(f"{original} "):  # "ORIGINAL pruned to 50 %"
        return _name(original) + spec.source.removeprefix(original)
    return _name(spec.source)


def _said(reading: Reading | None) -> Reading | None:
    """Return what was said of the model, with the names of files and folders only."""
    if reading is None:
        return None
    vae = None if reading.vae is None else _name(reading.vae)
    return replace(
        reading,
        vae=vae,
        config=None if reading.config is None else _name(reading.config),
        controlnets=tuple(map(_name, reading.controlnets)),
    )


def _name(given: str) -> str:
    path = Path(given).expanduser()
    if not path.exists():
        return given
    return os.fsencode(path.resolve().name).decode("utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
