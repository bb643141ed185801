"""Compares two evaluations picture by picture: the same prompt and seed, each to its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgegen.compare.values import (
    CONFIDENCE,
    SCHEMA_VERSION,
    Comparison,
    FigureChange,
    Side,
    WorsePicture,
    change_of,
    unknown,
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

    Each suite has its own figures. Raises ConfigError that says what differs where the two cannot
    be compared.
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
        new_faults=sum(_new_fault(*pair) is not None for pair in pairs),
        notes=_notes(old, new, len(pairs)),
    )


def check_same(old: Evaluation, new: Evaluation, names: tuple[str, str]) -> None:
    """Raise ConfigError that says what differs where two evaluations are not of the same."""
    facts = {
        "model": (old.model, new.model),
        "weights": (old.weights_sha256[:12], new.weights_sha256[:12]),
        "LoRAs": (_listed(old.loras), _listed(new.loras)),
        "steps": (old.steps, new.steps),
        "guidance": (old.guidance, new.guidance),
        "size": (f"{old.width}×{old.height}", f"{new.width}×{new.height}"),
        "reference's steps": (old.reference_steps, new.reference_steps),
    }
    if old.weights_sha256 == new.weights_sha256:
        # the name of a copy is no matter, nor whether LoRAs are in the weights or beside them
        del facts["model"], facts["weights"], facts["LoRAs"]
    differing = [f"{name}: {a} and {b}" for name, (a, b) in facts.items() if a != b]
    if differing:
        raise ConfigError(
            f"{names[0]} and {names[1]} cannot be compared. They differ in {'; '.join(differing)}.",
            hint="Evaluate packages of the same weights with the same options.",
        )


def _listed(loras: Sequence[str]) -> str:
    return ", ".join(loras) or "none"


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
    """Return how the share of right pictures, PSNR and SSIM changed in each suite, `known` first.

    A figure that no picture of a suite has on either side is left out there, but for one that no
    suite has.
    """
    suites: dict[str, list[Pair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair[0].suite != "known"):
        suites.setdefault(pair[0].suite, []).append(pair)
    confidence = _confidence(len(suites))
    found: list[FigureChange] = []
    for figure, value in _VALUES.items():
        told = [
            _quality_change(figure, value, suite, each, confidence)
            for suite, each in suites.items()
            if any(value(picture) is not None for pair in each for picture in pair)
        ]
        found += told or [unknown(figure, "no picture tells it on either side")]
    return tuple(found)


def _confidence(suites: int) -> float:
    """Return that of each interval where suites share what `CONFIDENCE` leaves."""
    return 1 - (1 - CONFIDENCE) / suites


def worse_pictures(pairs: Sequence[Pair]) -> tuple[WorsePicture, ...]:
    """Return the pictures that got worse, the gravest first."""
    found = []
    for old, new in pairs:
        lost = old.right is True and new.right is False
        before, after = _psnr(old), _psnr(new)
        fell_db = 0.0 if before is None or after is None else before - after
        fault = _new_fault(old, new)
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
    """Return the pictures that both have, in OLD's order; raises ConfigError for a double one."""
    before, after = _by_key(old, "OLD"), _by_key(new, "NEW")
    return [(picture, after[key]) for key, picture in before.items() if key in after]


def _by_key(
    evaluation: Evaluation, side: str
) -> Mapping[tuple[str, str | None, int], PictureResult]:
    found: dict[tuple[str, str | None, int], PictureResult] = {}
    for picture in evaluation.pictures:
        if _key(picture) in found:
            raise ConfigError(
                f"{side} has the picture {picture.prompt!r} with seed {picture.seed} of the suite "
                f"{picture.suite} twice.",
                hint="An evaluation has each picture once: evaluate the package again.",
            )
        found[_key(picture)] = picture
    return found


def _key(picture: PictureResult) -> tuple[str, str | None, int]:
    return (picture.suite, picture.prompt, picture.seed)


def _new_fault(old: PictureResult, new: PictureResult) -> str | None:
    """Return what is wrong with NEW's picture as a whole, where OLD's isn't so."""
    if new.is_lost and not (old.is_lost and new.fault == old.fault):
        return new.fault
    if new.is_uncompared and not old.is_uncompared:
        return "of another size"
    return None


def _quality_change(
    figure: str,
    value: Callable[[PictureResult], float | None],
    suite: str,
    pairs: Sequence[Pair],
    confidence: float,
) -> FigureChange:
    both = [
        (old.prompt if old.prompt is not None else old.seed, before, after)
        for old, new in pairs
        if (before := value(old)) is not None and (after := value(new)) is not None
    ]
    if not both:
        return unknown(figure, "no picture tells it on both sides", suite=suite)
    change = compare_pairs(
        [after - before for _, before, after in both], [group for group, _, _ in both], confidence
    )
    values = (
        sum(before for _, before, _ in both) / len(both),
        sum(after for _, _, after in both) / len(both),
    )
    needs = "it needs six prompts that both have drawn"
    return change_of(figure, values, change, needs, suite=suite)


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
    suites = {picture.suite for picture in old.pictures} & {each.suite for each in new.pictures}
    if len(suites) > 1:
        percent = 100 * _confidence(len(suites))
        notes.append(f"Of {len(suites)} suites, each interval of quality is of {percent:.3g} %.")
    left = len(old.pictures) + len(new.pictures) - 2 * common
    if left:
        notes.append(f"{left} pictures are in one of the two only, and were left out.")
    if old.reference != new.reference:
        notes.append(f"The references: {old.reference} and {new.reference}.")
    if old.arithmetic != new.arithmetic:
        types = (it.arithmetic or "the recipe's" for it in (old, new))
        notes.append(f"The arithmetic: {' and '.join(types)}.")
    if old.runtime != new.runtime:
        notes.append(f"The runtimes: {old.runtime} and {new.runtime}.")
    return tuple(notes)
