"""Compares two evaluations picture by picture: the same prompt and seed, each to its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgegen.compare.measurements import change_of, unknown
from edgegen.compare.values import (
    CONFIDENCE,
    SCHEMA_VERSION,
    Comparison,
    FigureChange,
    Side,
    WorsePicture,
)
from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import Evaluation, PictureResult
from edgegen.statistics.comparisons import compare_pairs

HIGHEST_DB = 60.0
"""PSNRs above this count as this: of sixteen values at most one is off, by the least step."""
WORSE_BY_DB = 1.0
"""A picture whose PSNR fell by this got worse."""
MOST_PICTURES = 50

Pair = tuple[PictureResult, PictureResult]


def compare_evaluations(old: Evaluation, new: Evaluation, *, names: tuple[str, str]) -> Comparison:
    """Compare the pictures that both evaluations have.

    The figures are those of the suite `known`, of all suites where that wasn't drawn; worse
    pictures are of every suite. Raises ConfigError that says what differs where the two cannot be
    compared.
    """
    check_same(old, new, names)
    pairs = _pairs(old, new)
    if not pairs:
        raise ConfigError(
            f"{names[0]} and {names[1]} have no picture in common.",
            hint="Evaluate both with the same suites and seeds.",
        )
    return Comparison(
        schema_version=SCHEMA_VERSION,
        old=side_of(old, names[0]),
        new=side_of(new, names[1]),
        how="picture by picture",
        changes=quality_changes(pairs),
        worse_pictures=worse_pictures(pairs),
        pictures=len(pairs),
        notes=_notes(old, new, len(pairs)),
    )


def check_same(old: Evaluation, new: Evaluation, names: tuple[str, str]) -> None:
    """Raise ConfigError that says what differs where two evaluations are not of the same."""
    facts = {
        "model": (old.model, new.model),
        "steps": (old.steps, new.steps),
        "guidance": (old.guidance, new.guidance),
        "size": (f"{old.width}×{old.height}", f"{new.width}×{new.height}"),
        "reference's steps": (old.reference_steps, new.reference_steps),
    }
    if old.weights_sha256 == new.weights_sha256:
        del facts["model"]  # the name of a copy is no matter
    differing = [f"{name}: {a} and {b}" for name, (a, b) in facts.items() if a != b]
    if differing:
        raise ConfigError(
            f"{names[0]} and {names[1]} cannot be compared. They differ in {'; '.join(differing)}.",
            hint="Evaluate both with the same options.",
        )


def side_of(evaluation: Evaluation, name: str) -> Side:
    """Return what a comparison says of one side."""
    return Side(
        name=name,
        model=evaluation.model,
        target=evaluation.target,
        recipe=evaluation.recipe,
        manifest_sha256=evaluation.manifest_sha256,
    )


def quality_changes(pairs: Sequence[Pair]) -> tuple[FigureChange, ...]:
    """Return how the share of right pictures, PSNR and SSIM changed."""
    known = [pair for pair in pairs if pair[0].suite == "known"] or list(pairs)
    return tuple(_quality_change(figure, value, known) for figure, value in _VALUES.items())


def worse_pictures(pairs: Sequence[Pair]) -> tuple[WorsePicture, ...]:
    """Return the pictures that got worse, the gravest first."""
    found = []
    for old, new in pairs:
        lost = old.right is True and new.right is False
        before, after = _psnr(old), _psnr(new)
        fell_db = 0.0 if before is None or after is None else before - after
        fault = new.fault if new.fault != old.fault else None
        if lost or fault is not None or fell_db >= WORSE_BY_DB:
            worse = WorsePicture(
                suite=new.suite,
                prompt=new.prompt,
                seed=new.seed,
                old_psnr_db=before,
                new_psnr_db=after,
                lost=lost,
                wrong=new.wrong if lost else (),
                fault=fault,
            )
            found.append(((fault is None, not lost, -fell_db), worse))
    found.sort(key=lambda item: item[0])
    return tuple(worse for _, worse in found[:MOST_PICTURES])


def _pairs(old: Evaluation, new: Evaluation) -> list[Pair]:
    """Return the pictures that both have, in OLD's order."""
    after = {_key(picture): picture for picture in new.pictures}
    return [(picture, after[_key(picture)]) for picture in old.pictures if _key(picture) in after]


def _key(picture: PictureResult) -> tuple[str, str | None, int]:
    return (picture.suite, picture.prompt, picture.seed)


def _quality_change(
    figure: str, value: Callable[[PictureResult], float | None], pairs: Sequence[Pair]
) -> FigureChange:
    both = [
        (old.prompt if old.prompt is not None else old.seed, before, after)
        for old, new in pairs
        if (before := value(old)) is not None and (after := value(new)) is not None
    ]
    if not both:
        return unknown(figure, "no picture tells it on both sides")
    change = compare_pairs(
        [after - before for _, before, after in both], [group for group, _, _ in both], CONFIDENCE
    )
    values = (
        sum(before for _, before, _ in both) / len(both),
        sum(after for _, _, after in both) / len(both),
    )
    return change_of(figure, values, change, "it needs six prompts that both have drawn")


def _psnr(picture: PictureResult) -> float | None:
    """Return a picture's PSNR up to `HIGHEST_DB`; None in the evaluation says: equal."""
    if "psnr" not in picture.scores:
        return None
    score = picture.scores["psnr"]
    return HIGHEST_DB if score is None else min(score, HIGHEST_DB)


def _ssim(picture: PictureResult) -> float | None:
    return picture.scores.get("ssim")


def _right(picture: PictureResult) -> float | None:
    return None if picture.right is None else float(picture.right)


_VALUES: Mapping[str, Callable[[PictureResult], float | None]] = {
    "right": _right,
    "psnr": _psnr,
    "ssim": _ssim,
}


def _notes(old: Evaluation, new: Evaluation, common: int) -> tuple[str, ...]:
    notes = []
    left = len(old.pictures) + len(new.pictures) - 2 * common
    if left:
        notes.append(f"{left} pictures are in one of the two only, and were left out.")
    if old.reference != new.reference:
        notes.append(f"The references: {old.reference} and {new.reference}.")
    if old.runtime != new.runtime:
        notes.append(f"The runtimes: {old.runtime} and {new.runtime}.")
    return tuple(notes)
