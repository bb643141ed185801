"""Refuses limits that an evaluation cannot find anything about, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen.core.errors import ConfigError, MissingDependencyError
from edgegen.core.figures import Limit, check_limits
from edgegen.evaluate.metrics import EXTRA, METRICS
from edgegen.evaluate.settings import Examination
from edgegen.evaluate.suite import KNOWN
from edgegen.evaluate.summary import LEAST_PROMPTS, asked_of
from edgegen.scenes.scene import PICTURE_PX


def findable(examination: Examination) -> frozenset[str]:
    """Return the figures of quality that what is asked can give: those of the suite `known`."""
    known = [it for it in examination.asked if it.question.suite == KNOWN]
    if len({asked_of(it.question.prompt, it.question.seed) for it in known}) < LEAST_PROMPTS:
        return frozenset()
    names = {name for name in ("psnr", "ssim") if METRICS[name].is_here}
    size = known[0].case.width, known[0].case.height
    if size == (PICTURE_PX, PICTURE_PX) and any(it.question.scene is not None for it in known):
        names.add("right")
    return frozenset(names)


def require_asked(limits: Sequence[Limit], examination: Examination) -> None:
    """Refuse limits that nothing can meet, or that what is asked says nothing about.

    Raises ConfigError, and MissingDependencyError for a metric whose library isn't installed.
    """
    check_limits(tuple(limits))
    names = findable(examination)
    if limits and not names:
        raise ConfigError(
            f"{limits[0].kind.option} is about the suite '{KNOWN}', {LEAST_PROMPTS} prompts or "
            "more of it, and these are not asked.",
            hint=f"Add --suite {KNOWN}, or leave --suite and --pictures out.",
        )
    require_findable(limits, {examination.spec.source: names})


def require_findable(limits: Sequence[Limit], names: Mapping[str, frozenset[str]]) -> None:
    """Refuse limits on figures of quality that nothing here finds out.

    `names` are those that can be found of each model. Raises ConfigError, and
    MissingDependencyError for a metric whose library isn't installed.
    """
    for limit in sorted(limits, key=lambda it: it.figure):
        lacking = [model for model, known in names.items() if limit.figure not in known]
        if not limit.kind.of_quality or not lacking:
            continue
        option = limit.kind.option
        if limit.figure == "right":
            raise ConfigError(
                f"{option} counts pictures that show what was asked for, and edgegen can tell that "
                f"of the built-in scenes models only, not of {', '.join(lacking)}.",
                hint="Limit --min-psnr or --min-ssim instead.",
            )
        raise MissingDependencyError(
            f"{option} needs a library that isn't installed.",
            hint=f"pip install 'edgegen[{EXTRA}]'",
        )
