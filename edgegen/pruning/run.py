"""Makes a pruned model of a model: what is cut is chosen, and a whole folder written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen.core.codec import dump_json
from edgegen.core.errors import ConfigError, SourceError
from edgegen.core.model import PipelineSpec
from edgegen.core.progress import Progress, SilentProgress
from edgegen.core.staging import staged_folder
from edgegen.models.model_folder import ModelFolder
from edgegen.models.origin import ORIGIN_NAME, SCHEMA_VERSION, Origin
from edgegen.models.pipeline_source import folder_source
from edgegen.models.read import read_pipeline
from edgegen.packaging.source_hash import weights_sha256
from edgegen.pruning.measure import measure_scores
from edgegen.pruning.recovery import RecoverySettings, recover
from edgegen.pruning.scores import Scores
from edgegen.pruning.select import WHAT, Kept, What, select
from edgegen.pruning.write import write_pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """A pruned model that is not written yet: what stays of which model."""

    model: ModelFolder
    spec: PipelineSpec
    scores: Scores
    kept: Kept
    what: tuple[What, ...]

    @property
    def origin(self) -> Origin:
        """Return what the pruned model says of itself."""
        generation = self.spec.generation
        return Origin(
            schema_version=SCHEMA_VERSION,
            model=self.model.source,
            revision=self.model.revision,
            variant=self.model.variant,
            weights_sha256=self.scores.weights_sha256,
            steps=generation.steps,
            guidance=generation.guidance,
            numbers=self.scores.structure.numbers,
            kept_numbers=self.kept.numbers,
            what=self.what,
        )


def plan_pruning(
    model: ModelFolder,
    share: float,
    *,
    what: Sequence[What] = WHAT,
    progress: Progress,
    with_sensitivity: bool = False,
) -> PrunePlan:
    """Choose what stays of a model, at most `share` (0…1) of its denoiser's weights.

    `with_sensitivity` is as `measure_scores` takes it.

    Raises what `measure_scores` and `select` raise, and SourceError for a model that was pruned
    before, and for one that is no whole folder.
    """
    spec = read_pipeline(model)
    if spec.original is not None:
        raise SourceError(
            f"{model.source} was pruned already, from {spec.original}.",
            hint=f"Prune {spec.original} further instead: what is cut is chosen from the whole.",
        )
    if spec.form is not None or spec.adapters or model.layout is not None:
        raise SourceError(
            f"{model.source} isn't a plain folder of a pipeline: its weights lie in a single file, "
            "or elsewhere, or have adapters added.",
            hint="Save it as a folder first, with diffusers: "
            "StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER).",
        )
    source = folder_source(model.path)
    scores = measure_scores(
        spec,
        source,
        weights_sha256=weights_sha256(model.path, spec.components, progress),
        progress=progress,
        with_sensitivity=with_sensitivity,
    )
    kept = select(scores, share, what)
    return PrunePlan(model=model, spec=spec, scores=scores, kept=kept, what=tuple(what))


def prune(
    plan: PrunePlan,
    destination: Path,
    *,
    force: bool = False,
    recovery: RecoverySettings | None = None,
    progress: Progress | None = None,
) -> Origin:
    """Write the pruned model as a folder; it is there whole, or not at all.

    With `recovery` it learns from its original first. With `force` an earlier pruned model is
    replaced. Returns what the model says of itself. Raises ConfigError, SourceError, ResourceError,
    and what `recover` raises.
    """
    origin = plan.origin
    with staged_folder(
        destination, check=lambda place: require_replaceable(place, force=force)
    ) as staging:
        write_pruned(plan.model, plan.spec, plan.scores.structure, plan.kept, origin, staging)
        if recovery is not None:
            learned = recover(
                plan.model,
                plan.spec,
                plan.scores.weights_sha256,
                plan.kept,
                staging,
                recovery,
                progress or SilentProgress(),
            )
            origin = replace(origin, recovery=learned)
            (staging / ORIGIN_NAME).write_text(dump_json(origin), encoding="utf-8")
    return origin


def require_replaceable(destination: Path, *, force: bool) -> None:
    """Refuse a place that holds anything but an empty folder or, with `force`, a pruned model.

    Raises ConfigError.
    """
    if not os.path.lexists(destination):
        return
    is_folder = destination.is_dir() and not destination.is_symlink()
    if is_folder and not any(destination.iterdir()):
        return
    if not is_folder or not (destination / ORIGIN_NAME).is_file():
        raise ConfigError(
            f"{destination} holds something else than a pruned model.",
            hint="Choose a folder that does not exist; edgegen only replaces what it wrote.",
        )
    if not force:
        raise ConfigError(
            f"{destination} holds a pruned model already.",
            hint="Choose another folder, or pass --force to replace it.",
        )
