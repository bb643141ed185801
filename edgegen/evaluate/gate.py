"""The gate of quality: which limits a package's pictures break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.errors import ConfigError, ParityError
from edgegen.core.evaluation import Evaluation, PictureResult
from edgegen.core.figures import FIGURES, UNKNOWN, Figure, Limit, check_limits
from edgegen.core.recipe import Recipe
from edgegen.core.units import format_decibels
from edgegen.evaluate.metrics import EXTRA, METRICS
from edgegen.evaluate.suite import KNOWN
from edgegen.evaluate.summary import LEAST_PROMPTS, asked_of, quality_figures, worst_first

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A limit that is broken, or that nobody can tell of.

    None: pictures that show nothing, or that could not be compared.
    """

    limit: Limit | None
    figure: Figure
    why: str


def gate(evaluation: Evaluation, limits: Sequence[Limit]) -> tuple[Broken, ...]:
    """Return what fails: limits on quality, and pictures that show nothing though they should.

    Pictures that could not be compared fail, too. A figure passes with the worse bound of its
    interval. What is unknown never passes. Raises ConfigError for a limit that isn't about quality,
    or that nothing can meet.
    """
    check_limits(tuple(limits))
    figures = quality_figures(evaluation)
    found = [_faults(evaluation), _uncompared(evaluation)]
    for limit in limits:
        if not limit.kind.of_quality:
            raise ConfigError(
                f"{limit.kind.option} isn't about pictures.",
                hint="Measure it: edgegen bench, or edgegen choose.",
            )
        figure = figures.get(limit.figure, UNKNOWN)
        if figure.passes(limit) is not True:
            found.append(Broken(limit=limit, figure=figure, why=_why(limit, figure, evaluation)))
    return tuple(broken for broken in found if broken is not None)


def recipe_limits(recipe: Recipe, evaluation: Evaluation) -> tuple[Limit, ...]:
    """Return the limits that a recipe sets, for a package that draws in its reference's steps.

    In other steps, what differs is no longer the recipe's doing. Without two prompts of the suite
    `known` there is nothing that they are about.
    """
    quality = recipe.quality
    if quality is None or _why_unasked(evaluation):
        return ()
    wanted = {"psnr": quality.psnr_db, "ssim": quality.ssim}
    return tuple(
        Limit(figure=name, value=value, origin=f"the recipe {recipe.name}")
        for name, value in wanted.items()
        if value is not None
    )


def with_defaults(asked: Sequence[Limit], defaults: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return the limits that were asked for, and the defaults of the other figures."""
    names = {limit.figure for limit in asked}
    return (*asked, *(limit for limit in defaults if limit.figure not in names))


def without_limits(recipe: Recipe, evaluation: Evaluation, held: Sequence[Limit]) -> str | None:
    """Return why no limit on quality held, for a note; None where one did."""
    if held:
        return None
    why = _why_unasked(evaluation) if recipe.quality is not None else ""
    why = why or f"the recipe {recipe.name} sets none"
    return f"No limit on quality held: {why}. --min-psnr sets one."


def _why_unasked(evaluation: Evaluation) -> str:
    """Return why a recipe's limits aren't about an evaluation; empty where they are."""
    if evaluation.steps != evaluation.reference_steps:
        return f"it drew in {evaluation.steps} steps, torch in {evaluation.reference_steps}"
    prompts = {asked_of(it.prompt, it.seed) for it in evaluation.pictures if it.suite == KNOWN}
    if len(prompts) < LEAST_PROMPTS:
        return f"a recipe's limits need {LEAST_PROMPTS} prompts of the suite '{KNOWN}'"
    return ""


def require_quality(evaluation: Evaluation, broken: Sequence[Broken], package: str) -> None:
    """Raise ParityError that says what failed, and the prompts that came out worst."""
    if not broken:
        return
    lost = [picture for picture in evaluation.pictures if picture.is_lost or picture.is_uncompared]
    known = [picture for picture in evaluation.pictures if picture.suite == KNOWN]
    pictures = lost or known or evaluation.pictures
    worst = [_prompt(picture) for picture in worst_first("psnr", pictures)[:_SHOWN]]
    why = "; ".join(each.why for each in broken)
    shown = f" Worst: {', '.join(worst)}." if worst else ""
    nearer = "A recipe with more bits draws nearer"
    if evaluation.arithmetic is not None:
        nearer = (
            f"It was computed in {evaluation.arithmetic}: without --arithmetic it may be nearer"
        )
    raise ParityError(
        f"{package} draws too far from its model: {why}.{shown}",
        hint=f"Look at the pictures (edgegen evaluate … -o DIR, worst.png). {nearer}; a larger "
        "--pictures narrows an interval.",
    )


def format_quality(name: str, value: float) -> str:
    """Write a value of a figure of quality: `31.2 dB`, `0.951`."""
    if FIGURES[name].unit == "decibels":
        return format_decibels(value)
    return f"{value:.3f}"


def _faults(evaluation: Evaluation) -> Broken | None:
    lost = [picture for picture in evaluation.pictures if picture.is_lost]
    if not lost:
        return None
    kinds = ", ".join(dict.fromkeys(str(picture.fault) for picture in lost))
    count = f"{len(lost)} of {len(evaluation.pictures)} pictures"
    return Broken(limit=None, figure=UNKNOWN, why=f"{count} show nothing ({kinds})")


def _uncompared(evaluation: Evaluation) -> Broken | None:
    count = sum(picture.is_uncompared for picture in evaluation.pictures)
    if not count:
        return None
    what = f"{count} of {len(evaluation.pictures)} pictures"
    why = f"{what} could not be compared: they are not of the reference's size"
    return Broken(limit=None, figure=UNKNOWN, why=why)


def _why(limit: Limit, figure: Figure, evaluation: Evaluation) -> str:
    title, least = limit.kind.title, format_quality(limit.figure, limit.value)
    asked = f"{least} ({limit.origin})"
    if figure.value is None:
        return f"{title} is unknown ({_reason(limit.figure, evaluation)}), and {asked} is wanted"
    value = format_quality(limit.figure, figure.value)
    if figure.low is not None and limit.allows(figure.value):
        low = format_quality(limit.figure, figure.low)
        return f"{title} is {value}, but may be {low} (95 %), and {asked} is wanted"
    return f"{title} is {value}, and {asked} is wanted"


def _reason(name: str, evaluation: Evaluation) -> str:
    if any(it.suite == KNOWN and it.is_uncompared for it in evaluation.pictures):
        return "not all pictures could be compared"
    if name == "right":
        return "only scenes can be read, of two prompts or more"
    if not _is_known(name):
        return f"pip install 'edgegen[{EXTRA}]' brings what computes it"
    return "it needs two prompts of the suite 'known'"


def _is_known(name: str) -> bool:
    return name not in METRICS or METRICS[name].is_here


def _prompt(picture: PictureResult) -> str:
    text = "noise" if picture.prompt is None else repr(picture.prompt[:60])
    if picture.is_uncompared:
        what = "not compared"
    else:
        what = picture.fault or format_decibels(picture.scores.get("psnr"))
    return f"{text}, seed {picture.seed} ({what})"
