"""Sums up pictures: how a metric is distributed, and the figures that limits are about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgegen.core.evaluation import (
    EQUAL_DB,
    Evaluation,
    PictureResult,
    Spread,
    SuiteResult,
)
from edgegen.core.figures import UNKNOWN, Figure
from edgegen.evaluate.metrics import METRICS, higher_is_better
from edgegen.evaluate.suite import KNOWN, split_of
from edgegen.statistics.student import student_t

LEAST_PROMPTS = 2
"""Of a figure: one prompt has no interval."""
_NORMAL_95 = 1.959964
_CEILINGS = {"psnr": EQUAL_DB, "ssim": 1.0}


def sum_up(suite: str, pictures: Sequence[PictureResult]) -> SuiteResult:
    """Return what the pictures of a suite show together."""
    names = dict.fromkeys(name for picture in pictures for name in picture.scores)
    faults: dict[str, int] = {}
    for picture in pictures:
        if picture.fault is not None:
            faults[picture.fault] = faults.get(picture.fault, 0) + 1
    return SuiteResult(
        suite=suite,
        pictures=len(pictures),
        metrics={name: spread(name, pictures) for name in names},
        faults=faults,
        right=share(picture.right for picture in pictures),
        reference_right=share(picture.reference_right for picture in pictures),
        kinds=_kinds(pictures),
    )


def spread(name: str, pictures: Iterable[PictureResult]) -> Spread:
    """Return how a metric is distributed over the pictures that have it."""
    scores = [picture.scores[name] for picture in pictures if name in picture.scores]
    values = np.array([_value(name, score) for score in scores])
    equal = (
        sum(score is None or score == METRICS[name].equal for score in scores)
        if (name in METRICS)
        else 0
    )
    low, high = np.quantile(values, [0.1, 0.9])
    return Spread(
        count=len(values),
        mean=float(values.mean()),
        median=float(np.median(values)),
        worst=float(values.min() if higher_is_better(name) else values.max()),
        p10=float(low),
        p90=float(high),
        equal=equal,
    )


def share(values: Iterable[bool | None]) -> float | None:
    """Return the share of what is true, None where nothing is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def worst_first(name: str, pictures: Iterable[PictureResult]) -> list[PictureResult]:
    """Return the pictures that have a metric, or that none could compare, the worst first.

    Those that could not be compared come before all, then those that show nothing.
    """
    having = [it for it in pictures if name in it.scores or it.is_uncompared]
    sign = 1 if higher_is_better(name) else -1

    def rank(picture: PictureResult) -> tuple[bool, bool, float]:
        value = 0.0 if picture.is_uncompared else _value(name, picture.scores[name])
        return not picture.is_uncompared, not picture.is_lost, sign * value

    return sorted(having, key=rank)


def quality_figures(evaluation: Evaluation) -> Mapping[str, Figure]:
    """Return right, psnr and ssim of the pictures of what the model knows, as limits take them.

    Each has the 95 % interval over prompts: what was asked is a sample of what could be asked.
    Pictures of one prompt with several seeds are one value. A figure that was not found is unknown,
    and so is one of fewer than two prompts, or one that a picture lacks whose reference is finite.
    """
    known = [picture for picture in evaluation.pictures if picture.suite == KNOWN]
    figures = {name: _mean_figure(name, known, evaluation) for name in ("psnr", "ssim")}
    return {"right": _right_figure(known, evaluation), **figures}


def _mean_figure(name: str, pictures: Sequence[PictureResult], evaluation: Evaluation) -> Figure:
    comparable = [it for it in pictures if it.reference_fault != "not finite"]
    if any(name not in it.scores for it in comparable):
        return UNKNOWN
    means = _prompt_means(comparable, lambda it: _value(name, it.scores[name]))
    if len(means) < LEAST_PROMPTS:
        return UNKNOWN
    mean = float(means.mean())
    margin = student_t(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
    return Figure(
        value=mean,
        low=mean - margin,
        high=min(mean + margin, _CEILINGS[name]),
        origin="measured",
        source=_source(len(comparable), evaluation),
    )


def _right_figure(pictures: Sequence[PictureResult], evaluation: Evaluation) -> Figure:
    """Return the mean share of right pictures of a prompt, with Wilson's interval over prompts.

    The variance of shares is at most that of the yes or no of one picture a prompt, which Wilson's
    interval is about: so it isn't too narrow with several seeds.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if any(it.right is None and it.reference_right is not None for it in pictures):
        return UNKNOWN
    known = [it for it in pictures if it.right is not None]
    means = _prompt_means(known, lambda it: float(it.right is True))
    count = len(means)
    if count < LEAST_PROMPTS:
        return UNKNOWN
    value = float(means.mean())
    square = _NORMAL_95**2
    middle = (value + square / (2 * count)) / (1 + square / count)
    half = (
        _NORMAL_95
        * math.sqrt(value * (1 - value) / count + square / (4 * count**2))
        / (1 + square / count)
    )
    return Figure(
        value=value,
        low=max(0.0, middle - half),
        high=min(1.0, middle + half),
        origin="measured",
        source=_source(len(known), evaluation),
    )


def asked_of(prompt: str | None, seed: int) -> object:
    """Return what pictures of the same prompt share; without text each seed is a prompt."""
    return seed if prompt is None else prompt


def _prompt_means(
    pictures: Sequence[PictureResult], value: Callable[[PictureResult], float]
) -> NDArray[np.float64]:
    """Return the mean over the pictures of each prompt."""
    groups: dict[object, list[float]] = {}
    for picture in pictures:
        key = asked_of(picture.prompt, picture.seed)
        groups.setdefault(key, []).append(value(picture))
    return np.array([float(np.mean(values)) for values in groups.values()])


def _source(pictures: int, evaluation: Evaluation) -> str:
    return f"{pictures} pictures, {evaluation.runtime}"


def _kinds(pictures: Sequence[PictureResult]) -> Mapping[str, float]:
    """Return the share of right pictures of each kind and, where kinds have them, each split."""
    grouped: dict[str, list[bool | None]] = {}
    for picture in pictures:
        split = split_of(picture.kind)
        if split is not None:
            grouped.setdefault(split, []).append(picture.right)
    for picture in pictures:
        grouped.setdefault(picture.kind, []).append(picture.right)
    shares = {kind: share(values) for kind, values in grouped.items()}
    return {kind: value for kind, value in shares.items() if value is not None}


def _value(name: str, score: float | None) -> float:
    """Return a score as a number: the PSNR of equal pictures, and any above it, is `EQUAL_DB`."""
    if score is None:
        return EQUAL_DB
    return min(score, EQUAL_DB) if name == "psnr" else score
