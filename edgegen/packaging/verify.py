"""Verifies a package: every byte, the manifest, then parity with torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import dump_json, load_json
from edgegen.core.errors import ConfigError, ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.manifest import load_manifest
from edgegen.core.package import (
    EVIDENCE_NAME,
    Evidence,
    GoldenCase,
    PackageManifest,
    StageCost,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.reading import AS_IT_IS, Reading
from edgegen.core.recipe import Arithmetic, ArithmeticWish
from edgegen.core.scratch import ScratchFolder, utf8_name
from edgegen.models.adapters.image_prompt import ImagePromptChoice
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.packaging.integrity import (
    manifest_sha256,
    verify_files,
)
from edgegen.packaging.packaged_model import (
    Counterpart,
    counterpart_of,
    packaged_spec,
    require_same_weights,
    resolve_source,
)
from edgegen.parity.gate import ParityRun, check_package
from edgegen.parity.runner_side import RunnerSide
from edgegen.parity.side import ArtifactSide
from edgegen.reference.case import FOLDER_NAME
from edgegen.reference.run import GoldenRun, make_golden
from edgegen.runner.arithmetic import ArithmeticChoice, fastest_arithmetic
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.runtimes import emulated_here


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A package whose bytes are those of its manifest, and how it compares with torch in `case`.

    `unwritten` says why the evidence was not written beside the manifest; None where it was.
    `arithmetic` is the type in which it was computed, None for the recipe's own, and `choice` says
    why, where that was left to be chosen. `loras` are those that both sides drew with besides.
    """

    manifest: PackageManifest
    case: GoldenCase
    run: ParityRun
    evidence: Evidence
    unwritten: str | None
    arithmetic: Arithmetic | None = None
    choice: ArithmeticChoice | None = None
    loras: tuple[str, ...] = ()


def verify_package(
    package: Path,
    *,
    full: bool = False,
    model: str | None = None,
    loras: Sequence[str] = (),
    embeddings: Sequence[str] = (),
    image_prompt: ImagePromptChoice | None = None,
    reading: Reading = AS_IT_IS,
    progress: Progress | None = None,
    artifact: ArtifactSide | None = None,
    arithmetic: ArithmeticWish | None = None,
) -> Verification:
    """Verify a package, and write what was measured to its `evidence.json` where that can be.

    It is compared with the golden case that it carries; with `full`, with torch at the model's
    native size, the model being `model` or the one that the manifest names, read as `reading` and
    the manifest say. A package whose layers take LoRAs is given the `loras` behind those in its
    weights. The runtime computes in `arithmetic`; where that isn't the recipe's own, and where
    LoRAs are given, what was measured is not the package's evidence, and isn't written. A
    comparison that failed is part of the result: `edgegen.parity.gate.require` makes an error of
    it.

    Raises ConfigError for what is no package, IntegrityError where its bytes are others, and
    SourceError where the model cannot be read or is another one.
    """
    shown = progress or SilentProgress()
    manifest = load_manifest(package)
    added = (loras, embeddings, image_prompt)
    given = model is not None or any(added) or reading != AS_IT_IS
    if given and not full:
        option = "--model MODEL" if model is None else f"--model {model}"
        if model is None and (loras or embeddings):
            option = f"--lora {loras[0]}" if loras else f"--embedding {embeddings[0]}"
        elif model is None and image_prompt is not None:
            option = f"--ip-adapter {image_prompt.file}"
        raise ConfigError(
            f"{option.split()[0]} is for --full: without it, the package's own golden case is "
            "used. So is what says how the model is read.",
            hint=f"Run: edgegen verify {package} --full {option}.",
        )
    verify_files(package, manifest, progress=shown)
    played, choice = artifact, None
    if arithmetic == "auto":
        choice = fastest_arithmetic(
            str(package.absolute()),
            manifest,
            manifest_sha256(package),
            backend_here(manifest.runs_as, Wishes()),
            progress=shown,
        )
        arithmetic = choice.arithmetic
    case = manifest.golden
    costs: tuple[StageCost, ...] = ()
    names: tuple[str, ...] = ()
    with counterpart_of(manifest, model, *added, reading) as counterpart:
        file = None
        if counterpart.given is not None:
            file, names = counterpart.given.file, counterpart.given.names
        if arithmetic is not None or file is not None:
            artifact = artifact or RunnerSide(package, arithmetic=arithmetic, lora=file)
        if full:
            made, run = _compare_with_model(package, manifest, counterpart, shown, artifact)
            case, costs = made.case, (made.cost,)
        else:
            run = check_package(package, manifest, artifact=artifact, progress=shown)
    assert case is not None  # check_package refuses a package without one
    evidence = Evidence(
        manifest_sha256=manifest_sha256(package),
        parity=run.checks,
        costs=_merge_costs(package, (*costs, run.cost)),
        emulated=played is None and emulated_here(manifest.runs_as),
    )
    unwritten = None
    if names:
        unwritten = f"It is of the package with {', '.join(names)}."
    elif arithmetic not in (None, manifest.recipe.compute):
        unwritten = f"It is of {arithmetic}, and the recipe computes in {manifest.recipe.compute}."
    return Verification(
        manifest=manifest,
        case=case,
        run=run,
        evidence=evidence,
        unwritten=unwritten or _write_evidence(package, evidence),
        arithmetic=arithmetic,
        choice=choice,
        loras=names,
    )


def _write_evidence(package: Path, evidence: Evidence) -> str | None:
    """Write evidence beside its manifest, whole or not at all; return why it was not."""
    try:
        write_atomic(package / EVIDENCE_NAME, dump_json(evidence))
    except ResourceError as error:  # a read-only disk: what was found is no less true
        return error.message
    return None


def _compare_with_model(
    package: Path,
    manifest: PackageManifest,
    counterpart: Counterpart,
    progress: Progress,
    artifact: ArtifactSide | None,
) -> tuple[GoldenRun, ParityRun]:
    folder = counterpart.model or resolve_source(manifest.source, None)
    spec = packaged_spec(read_pipeline(folder), manifest)
    require_same_weights(folder, spec, manifest, package, progress)
    if counterpart.given is not None:
        folder = counterpart.given.model
    with ScratchFolder("reference") as scratch, utf8_name(folder.path) as source:
        place = scratch / FOLDER_NAME
        made = make_golden(spec, folder_source(source), place, full=True, progress=progress)
        run = check_package(
            package, manifest, case=made.case, folder=place, artifact=artifact, progress=progress
        )
    return made, run


def _merge_costs(package: Path, measured: tuple[StageCost, ...]) -> tuple[StageCost, ...]:
    """Return the costs of the build that were known, those of the stages that ran now replaced."""
    try:
        known = load_json(Evidence, package / EVIDENCE_NAME)
    except ConfigError:  # there is none, or it cannot be read: what is measured now is known
        return measured
    if known.manifest_sha256 != manifest_sha256(package):
        return measured
    stages = {cost.stage for cost in measured}
    return (*(cost for cost in known.costs if cost.stage not in stages), *measured)
