"""What a package's quality is found with, and the cases that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.errors import ConfigError
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.recipe import ArithmeticWish
from edgegen.evaluate.metrics import METRICS
from edgegen.evaluate.suite import (
    DEFAULT,
    KNOWN,
    Question,
    Suite,
    check_distinct,
    load_suite,
    questions,
    shown_name,
)
from edgegen.families import family_of
from edgegen.models.model_folder import ModelFolder
from edgegen.models.scheduler import with_defaults
from edgegen.packaging.drawing import cached_for, guided_in_part
from edgegen.reference.case import SMALL_MODEL_PX, STRENGTHS
from edgegen.scenes.scene import PICTURE_PX

MOST_PICTURES = 10_000
MOST_GUIDANCE = 1000
LARGE_MODEL_PICTURES = 4
"""Of each suite, where the user says nothing and pictures are larger than `SMALL_MODEL_PX`."""
TEXTLESS_PICTURES = 24
TRAJECTORIES = 4
"""Pictures of each suite whose latents are compared after every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """What is asked of a package; None: the package's own value, or the model's.

    `suites` are names, or paths of TOML files. `pictures` is the most prompts of each suite, and
    `seeds` how many pictures are drawn of each prompt. `reference_steps` are the reference's steps:
    the model's own, whatever the package draws in. `arithmetic` is the type in which the package's
    runtime computes. `clip` is a CLIP model whose weights are here: a
    folder, or a hub id in the hub's cache.
    """

    suites: tuple[str, ...] = DEFAULT
    pictures: int | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_stop: float | None = None
    cache_interval: int | None = None
    width: int | None = None
    height: int | None = None
    seeds: int = 1
    reference_steps: int | None = None
    arithmetic: ArithmeticWish | None = None
    clip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A picture that both draw: the package `case`, and the reference `reference_case`.

    `number` counts the pictures of a suite from 0. `with_steps` says whether latents are compared.
    """

    number: int
    question: Question
    case: GoldenCase
    reference_case: GoldenCase
    with_steps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that is asked of a package, and what the user should know of it."""

    spec: PipelineSpec
    asked: tuple[Asked, ...]
    reference_steps: int
    warnings: tuple[str, ...]


def examine(
    folder: ModelFolder, own: PipelineSpec, spec: PipelineSpec, settings: EvaluateSettings
) -> Examination:
    """Decide what is asked of a model, or of a package of it.

    `own` is the model's spec as it is read from `folder`, `spec` the one that it was packaged with.
    Raises ConfigError for a suite that isn't one, a guidance or a size that the model doesn't take,
    and a count below one.
    """
    _check_counts(settings)
    first = _case(spec, settings)
    steps = settings.reference_steps or _own_steps(folder, own, spec)
    warnings: list[str] = []
    suites = _suites(spec, spec.known_as, settings.suites, warnings)
    asked: list[Asked] = []
    for suite in suites:
        of_suite = _questions(spec, suite, _most(settings, first, shown_name(suite), warnings))
        repeated = [
            replace(question, seed=question.seed + seed * _SEED_STRIDE)
            for question in of_suite
            for seed in range(settings.seeds)
        ]
        for number, question in enumerate(repeated):
            case = replace(
                first,
                prompt=question.prompt,
                seed=question.seed,
                class_label=_class_label(spec, question.seed),
            )
            reference_case = _whole(case, steps)
            asked.append(
                Asked(
                    number=number,
                    question=question,
                    case=case,
                    reference_case=reference_case,
                    with_steps=number < TRAJECTORIES and case.steps == steps,
                )
            )
    return Examination(
        spec=spec, asked=tuple(asked), reference_steps=steps, warnings=tuple(warnings)
    )


def _whole(case: GoldenCase, steps: int) -> GoldenCase:
    """Return a case as the reference draws it: without what a package leaves out or cuts up."""
    return replace(
        case,
        steps=steps,
        guidance_start=0.0,
        guidance_stop=1.0,
        cache_interval=1,
        decode_tile=None,
    )


def quality_names(spec: PipelineSpec, settings: EvaluateSettings | None = None) -> frozenset[str]:
    """Return the figures of quality that an evaluation of a model can find: known before it is.

    Whether a picture is right is known of scenes only. SSIM needs its library.
    """
    names = {"psnr"}
    if METRICS["ssim"].is_here:
        names.add("ssim")
    wanted = settings or EvaluateSettings()
    size = wanted.width or spec.generation.width, wanted.height or spec.generation.height
    if spec.facts.takes_text and load_suite(KNOWN, spec.known_as).scenes is not None:
        names |= {"right"} if size == (PICTURE_PX, PICTURE_PX) else set()
    return frozenset(names)


_SEED_STRIDE = 1000


def _check_counts(settings: EvaluateSettings) -> None:
    for name, value in (("--pictures", settings.pictures), ("--seeds", settings.seeds)):
        if value is not None and not 1 <= value <= MOST_PICTURES:
            raise ConfigError(f"{name} is {value}.", hint=f"Give 1 to {MOST_PICTURES}.")
    if not settings.suites:
        raise ConfigError("There is no suite to ask.", hint="Give one: --suite known")


def _case(spec: PipelineSpec, settings: EvaluateSettings) -> GoldenCase:
    """Return the case of a package without its prompt and seed."""
    generation, facts = spec.generation, spec.facts
    native = generation.width, generation.height
    size = settings.width or native[0], settings.height or native[1]
    if size != native and not family_of(spec.family).reference.takes_size:
        raise ConfigError(
            f"{spec.source} draws pictures of {native[0]} × {native[1]} pixels only.",
            hint="Leave --width and --height out.",
        )
    guidance = generation.guidance
    if facts.needs_mask and generation.inpaint_guidance is not None:
        guidance = generation.inpaint_guidance
    if settings.guidance is not None:
        if facts.guidance == "none":
            raise ConfigError(
                f"{spec.source} draws without guidance.", hint="Leave --guidance out."
            )
        if not abs(settings.guidance) <= MOST_GUIDANCE:
            raise ConfigError(
                f"--guidance is {settings.guidance:g}.",
                hint=f"Give a number of at most {MOST_GUIDANCE}; most models draw with 1 to 15.",
            )
        guidance = settings.guidance
    drawn = replace(generation, steps=settings.steps or generation.steps, guidance=guidance)
    if settings.guidance_stop is not None:
        drawn = guided_in_part(facts, drawn, None, settings.guidance_stop)
    if settings.cache_interval is not None:
        drawn = cached_for(drawn, settings.cache_interval)
    return GoldenCase(
        folder="",
        prompt=None,
        negative_prompt=None,
        width=size[0],
        height=size[1],
        steps=drawn.steps,
        guidance=guidance,
        seed=0,
        scheduler=spec.scheduler.class_name,
        strength=STRENGTHS.get(facts.starts[0]),
        image_guidance=generation.image_guidance,
        noise_level=generation.noise_level,
        guidance_start=drawn.guidance_start,
        guidance_stop=drawn.guidance_stop,
        cache_interval=drawn.cache_interval,
    )


def _class_label(spec: PipelineSpec, seed: int) -> int | None:
    """Return the class of the image of a seed: another for each, and all of them in turn."""
    classes = spec.generation.classes
    return None if classes is None else seed % classes


def _own_steps(folder: ModelFolder, own: PipelineSpec, spec: PipelineSpec) -> int:
    """Return the steps that a model is drawn in by default, with the package's scheduler."""
    if own.known_as in BUILTIN_MODELS or spec.scheduler == own.scheduler:
        return own.generation.steps
    other = replace(own, scheduler=spec.scheduler)
    return with_defaults(other, folder.path).generation.steps


def _suites(
    spec: PipelineSpec, model: str, names: Sequence[str], warnings: list[str]
) -> tuple[Suite, ...]:
    suites = tuple(load_suite(name, model) for name in names)
    check_distinct(suites)
    if spec.facts.takes_text:
        return suites
    left_out = [shown_name(suite) for suite in suites if shown_name(suite) != KNOWN]
    if left_out:
        warnings.append(f"{model} takes no text: left out {', '.join(left_out)}.")
    return (load_suite(KNOWN, model),)


def _questions(spec: PipelineSpec, suite: Suite, most: int | None) -> list[Question]:
    if spec.facts.takes_text:
        return questions(suite, most)
    name = shown_name(suite)
    return [
        Question(suite=name, kind="from noise", prompt=None, seed=seed)
        for seed in range(most or TEXTLESS_PICTURES)
    ]


def _most(
    settings: EvaluateSettings, case: GoldenCase, suite: str, warnings: list[str]
) -> int | None:
    if settings.pictures is not None or max(case.width, case.height) <= SMALL_MODEL_PX:
        return settings.pictures
    warnings.append(
        f"{LARGE_MODEL_PICTURES} pictures of the suite {suite}: each takes long at "
        f"{case.width} × {case.height} pixels. --pictures asks for more."
    )
    return LARGE_MODEL_PICTURES
