"""Finds a package's quality: the same prompts, seeds and noise through torch and the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgegen_runner.metrics import psnr_db

from edgegen.core.errors import SourceError
from edgegen.core.evaluation import SCHEMA_VERSION, Evaluation, PictureResult
from edgegen.core.figures import Limit
from edgegen.core.manifest import load_manifest
from edgegen.core.model import PipelineSpec
from edgegen.core.package import PackageManifest
from edgegen.core.progress import Progress, SilentProgress, Step
from edgegen.core.recipe import Arithmetic
from edgegen.core.scratch import ScratchFolder
from edgegen.devices.device import Device
from edgegen.drawer import Pixels
from edgegen.evaluate import clip
from edgegen.evaluate.faults import fault_of
from edgegen.evaluate.findable import require_asked
from edgegen.evaluate.metrics import EXTRA, missing, scores
from edgegen.evaluate.package_side import computed_by, draw_here, draw_there
from edgegen.evaluate.pictures import Pair, write_pictures
from edgegen.evaluate.references import Picture, References, Wanted
from edgegen.evaluate.settings import Asked, EvaluateSettings, Examination, examine
from edgegen.evaluate.summary import sum_up
from edgegen.models.model_folder import ModelFolder
from edgegen.models.read import read_pipeline
from edgegen.packaging.drawing import require_cache
from edgegen.packaging.integrity import manifest_sha256
from edgegen.packaging.packaged_model import (
    GivenLoras,
    drawn_weights_sha256,
    packaged_spec,
    require_same_weights,
    resolve_source,
)
from edgegen.packaging.source_hash import weights_sha256
from edgegen.reference.start_pictures import write_start_pictures
from edgegen.scenes.reading import read_picture
from edgegen.scenes.scene import PICTURE_PX, Scene
from edgegen.scenes.verdict import Verdict, judge

REFERENCE = "diffusers, float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """An evaluation, and the pictures that it is about, in the order of `evaluation.pictures`."""

    evaluation: Evaluation
    pairs: tuple[Pair, ...]


def evaluate_package(
    package: Path,
    *,
    model: ModelFolder | None = None,
    settings: EvaluateSettings | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
    pictures_dir: Path | None = None,
    against: ModelFolder | None = None,
    given: GivenLoras | None = None,
) -> Evaluation:
    """Draw what the suites ask for with a package and with its model, and compare the pictures.

    `model` is the one that the manifest names by default. Both draw with the LoRAs that are
    `given`. The package is drawn on this machine, or on a connected `device`. With `pictures_dir`
    all pictures are kept there. With `against` the pictures are compared with those of another
    model of the family, which draws without `given`: a pruned one's original.

    Raises ConfigError for a package or settings that are none, SourceError where the model cannot
    be read or is another one, and what drawing raises.
    """
    found = evaluate_with_pictures(
        package,
        model=model,
        settings=settings,
        device=device,
        progress=progress,
        against=against,
        given=given,
    )
    if pictures_dir is not None:
        write_pictures(pictures_dir, found.pairs)
    return found.evaluation


def evaluate_with_pictures(
    package: Path,
    *,
    model: ModelFolder | None = None,
    settings: EvaluateSettings | None = None,
    device: Device | None = None,
    progress: Progress | None = None,
    against: ModelFolder | None = None,
    given: GivenLoras | None = None,
) -> Evaluated:
    """Do what `evaluate_package` does, and return the pictures with the evaluation."""
    shown = progress or SilentProgress()
    settings = settings or EvaluateSettings()
    manifest = load_manifest(package)
    folder, examination = _prepared(manifest, model, settings)
    spec = examination.spec
    require_same_weights(folder, spec, manifest, package, shown)
    there = None if device is None or device.is_local else device
    computed = computed_by(package, manifest, there, settings.arithmetic, shown)
    is_own = computed.arithmetic == manifest.recipe.compute
    lora = None
    if given is not None:
        folder, lora = given.model, given.file
    subject = _Subject(
        manifest_sha256=manifest_sha256(package),
        model=manifest.source.model,
        weights_sha256=drawn_weights_sha256(manifest, given, shown),
        target=manifest.target,
        recipe=manifest.recipe.name,
        runtime=computed.runtime,
        arithmetic=None if is_own else computed.arithmetic,
        said=(f"Arithmetic: {computed.why}",) if computed.why else (),
        loras=() if given is None else given.names,
    )

    def draw(wanted: Sequence[Wanted], starts: Path) -> Iterator[Picture]:
        if there is None:
            return draw_here(package, wanted, starts, computed.arithmetic, lora)
        return draw_there(there, package, wanted, starts, computed.arithmetic, shown, lora)

    reference = _own(subject, folder, examination)
    if against is not None:
        reference = _other(against, examination, shown)
    return _evaluate(subject, reference, examination, settings, draw, shown)


def evaluate_model(
    model: ModelFolder,
    *,
    settings: EvaluateSettings | None = None,
    progress: Progress | None = None,
    against: ModelFolder | None = None,
) -> Evaluation:
    """Compare a model in torch, at the settings' steps and guidance, with itself at its own steps.

    It is what no package of the model can do better in so many steps. The result's target is
    `torch`, without a recipe and a manifest. With `against` it is compared with another model.
    Raises what `evaluate_package` raises.
    """
    shown = progress or SilentProgress()
    settings = settings or EvaluateSettings()
    own = read_pipeline(model)
    examination = examine(model, own, own, settings)
    subject = _Subject(
        manifest_sha256="",
        model=own.source,
        weights_sha256=weights_sha256(model.path, own.components, shown),
        target="torch",
        recipe="",
        runtime="torch, local",
    )

    def draw(wanted: Sequence[Wanted], starts: Path) -> Iterator[Picture]:
        references = References(own, model.path, subject.weights_sha256, starts=starts)
        yield from references.of(wanted, on_picture=lambda _is_kept: None)

    reference = _own(subject, model, examination)
    if against is not None:
        reference = _other(against, examination, shown)
    return _evaluate(subject, reference, examination, settings, draw, shown).evaluation


def check_before(
    package: Path,
    *,
    model: ModelFolder | None,
    settings: EvaluateSettings,
    limits: Sequence[Limit],
) -> None:
    """Raise, before anything is drawn, for settings and limits that a package cannot be held to.

    Raises ConfigError, SourceError, and MissingDependencyError.
    """
    manifest = load_manifest(package)
    _, examination = _prepared(manifest, model, settings)
    require_asked(limits, examination)


def _prepared(
    manifest: PackageManifest, model: ModelFolder | None, settings: EvaluateSettings
) -> tuple[ModelFolder, Examination]:
    # what was built of a built-in model is asked what that knows, wherever its files lie now
    folder = replace(model or resolve_source(manifest.source, None), source=manifest.source.model)
    own = read_pipeline(folder)
    if settings.cache_interval is not None:
        require_cache(manifest, settings.cache_interval)
    return folder, examine(folder, own, packaged_spec(own, manifest), settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is evaluated; `weights_sha256` is of the weights with the `loras` added.

    `said` is what the user should know of how it was computed.
    """

    manifest_sha256: str
    model: str
    weights_sha256: str
    target: str
    recipe: str
    runtime: str
    arithmetic: Arithmetic | None = None
    said: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """The model whose pictures are right; `called` is what the evaluation says of it."""

    spec: PipelineSpec
    folder: ModelFolder
    weights_sha256: str
    called: str = REFERENCE


def _own(subject: _Subject, folder: ModelFolder, examination: Examination) -> _Reference:
    """Return the model that was packaged."""
    return _Reference(spec=examination.spec, folder=folder, weights_sha256=subject.weights_sha256)


def _other(folder: ModelFolder, examination: Examination, progress: Progress) -> _Reference:
    """Return another model, drawn as the package is. Raises SourceError for another family's."""
    own, drawn = read_pipeline(folder), examination.spec
    if own.family != drawn.family:
        raise SourceError(
            f"{folder.source} is of the family {own.family}, the package of {drawn.family}.",
            hint="Compare it with a model that draws in the same way: the one it was pruned from.",
        )
    return _Reference(
        spec=replace(own, generation=drawn.generation, scheduler=drawn.scheduler),
        folder=folder,
        weights_sha256=weights_sha256(folder.path, own.components, progress),
        called=f"{REFERENCE}: {own.source}",
    )


_Draw = Callable[[Sequence[Wanted], Path], Iterator[Picture]]


def _evaluate(
    subject: _Subject,
    reference: _Reference,
    examination: Examination,
    settings: EvaluateSettings,
    draw: _Draw,
    progress: Progress,
) -> Evaluated:
    spec, asked = examination.spec, examination.asked
    with ScratchFolder("starts") as starts:
        first = asked[0].case
        write_start_pictures(spec, starts, width=first.width, height=first.height)
        kept = References(
            reference.spec, reference.folder.path, reference.weights_sha256, starts=starts
        )
        wanted = [Wanted(case=each.case, with_steps=each.with_steps) for each in asked]
        with progress.step("pictures of the package", total=len(wanted), unit="images") as step:
            drawn = list(_counted(draw(wanted, starts), step))  # one that can't be is found first
        references = _references(kept, asked, progress)
    pairs = [_pair(*trio) for trio in zip(asked, references, drawn, strict=True)]
    if settings.clip is not None:
        pairs = clip.add_similarity(pairs, settings.clip, progress)
    evaluation = _evaluation(subject, reference, examination, pairs)
    return Evaluated(evaluation=evaluation, pairs=tuple(pairs))


def _references(kept: References, asked: Sequence[Asked], progress: Progress) -> list[Picture]:
    wanted = [Wanted(case=each.reference_case, with_steps=each.with_steps) for each in asked]
    with progress.step("pictures of torch", total=len(set(wanted)), unit="images") as step:
        return kept.of(wanted, on_picture=lambda is_kept: _advance(step, is_kept))


def _advance(step: Step, is_kept: bool) -> None:
    step.advance()
    step.describe("from the cache" if is_kept else "drawn now")


def _counted(pictures: Iterator[Picture], step: Step) -> Iterator[Picture]:
    for picture in pictures:
        step.advance()
        yield picture


def _pair(asked: Asked, reference: Picture, picture: Picture) -> Pair:
    question = asked.question
    fault = picture.fault or fault_of(picture.pixels)
    reference_fault = reference.fault or fault_of(reference.pixels)
    verdict, of_reference = (_verdict(question.scene, it.pixels) for it in (picture, reference))
    known = picture.pixels.shape == reference.pixels.shape and reference.fault is None
    result = PictureResult(
        suite=question.suite,
        kind=question.kind,
        prompt=question.prompt,
        seed=question.seed,
        scores=scores(reference.pixels, picture.pixels) if known else {},
        steps_psnr_db=_steps(reference, picture),
        fault=fault,
        reference_fault=reference_fault,
        right=None if verdict is None else verdict.all_right,
        reference_right=None if of_reference is None else of_reference.all_right,
        wrong=() if verdict is None else _mistakes(verdict),
    )
    return Pair(
        number=asked.number, result=result, reference=reference.pixels, package=picture.pixels
    )


def _verdict(scene: Scene | None, pixels: Pixels) -> Verdict | None:
    if scene is None or pixels.shape[:2] != (PICTURE_PX, PICTURE_PX):
        return None
    return judge(scene, read_picture(pixels))


def _mistakes(verdict: Verdict) -> tuple[str, ...]:
    names = ("things", "count", "colour", "size", "placement")
    return tuple(name for name in names if getattr(verdict, name) is False)


def _steps(reference: Picture, picture: Picture) -> tuple[float | None, ...]:
    """Return the PSNR of the latents after each step, None for equal ones; () where they differ.

    A step whose latents aren't finite ends the list.
    """
    ours, theirs = picture.steps, reference.steps
    if ours is None or theirs is None or ours.shape[1:] != theirs.shape[1:]:
        return ()
    ratios: list[float | None] = []
    for left, right in zip(theirs, ours, strict=False):
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            break
        ratio_db = psnr_db(left, right)
        if ratio_db == -np.inf:  # the reference has no range
            break
        ratios.append(None if ratio_db == np.inf else ratio_db)
    return tuple(ratios)


def _evaluation(
    subject: _Subject, reference: _Reference, examination: Examination, pairs: Sequence[Pair]
) -> Evaluation:
    case = examination.asked[0].case
    results = [pair.result for pair in pairs]
    suites: dict[str, list[PictureResult]] = {}
    for result in results:
        suites.setdefault(result.suite, []).append(result)
    return Evaluation(
        schema_version=SCHEMA_VERSION,
        manifest_sha256=subject.manifest_sha256,
        model=subject.model,
        weights_sha256=subject.weights_sha256,
        target=subject.target,
        recipe=subject.recipe,
        runtime=subject.runtime,
        arithmetic=subject.arithmetic,
        loras=subject.loras,
        steps=case.steps,
        guidance=case.guidance,
        guidance_start=case.guidance_start,
        guidance_stop=case.guidance_stop,
        cache_interval=case.cache_interval,
        width=case.width,
        height=case.height,
        reference=reference.called,
        reference_steps=examination.reference_steps,
        suites=tuple(sum_up(name, members) for name, members in suites.items()),
        pictures=tuple(results),
        warnings=(*examination.warnings, *subject.said, *_missing()),
    )


def _missing() -> list[str]:
    absent = missing()
    if not absent:
        return []
    titles = " and ".join(metric.title for metric in absent)
    return [f"{titles} are left out: pip install 'edgegen[{EXTRA}]' brings what computes them."]
