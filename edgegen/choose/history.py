"""What the history has of a device that isn't here, as figures of a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgegen_runner.runtimes import RUNTIMES

from edgegen.choose.measured import elsewhere, figures_of
from edgegen.choose.problem import Candidate
from edgegen.core.choice import Way
from edgegen.core.figures import UNKNOWN, Figure
from edgegen.core.recipes import load_recipe
from edgegen.history.record import Query, Record
from edgegen.history.store import History, is_on
from edgegen.packaging.candidate import Candidate as PackageCandidate


def measured_elsewhere(
    candidates: Sequence[Candidate],
    built_as: Mapping[str, PackageCandidate],
    weights: Mapping[str, str],
    profile: str,
) -> Mapping[Way, Mapping[str, Figure]]:
    """Return figures that were measured on a device of a profile, of the same work.

    `built_as` is what each package is made of, `weights` are the hashes of each model's. A package
    is the same where its weights, its target and the name of its recipe are, and its size is the
    one that is predicted; the history doesn't have what a recipe says, so those of users have no
    figures. Empty where the history is switched off, or has nothing. Raises IntegrityError where
    its file is damaged.
    """
    if not is_on():
        return {}
    found: dict[Way, Mapping[str, Figure]] = {}
    with History.open() as history:
        for candidate in candidates:
            made = built_as.get(candidate.package)
            if candidate.refused or made is None or not _is_shipped(made):
                continue
            way = candidate.way
            query = Query(
                weights_sha256=weights[way.model],
                target=way.target,
                recipe=way.recipe,
                device_profile=profile,
                steps=way.steps,
                width=way.width,
                height=way.height,
                guidance=made.spec.generation.guidance,
                guidance_start=0.0,
                guidance_stop=way.guidance_stop,
                cache_interval=way.cache_interval,
                residency="all",
                memory_mode="auto",
                arithmetic="own" if made.runtime.arithmetic is None else made.runtime.arithmetic,
                complete=True,
            )
            same = [it for it in history.find(query) if is_of(it, candidate, made)]
            if same:
                found[way] = elsewhere(figures_of(history.measurement(same[0])))
    return found


def is_of(record: Record, candidate: Candidate, made: PackageCandidate) -> bool:
    """Return whether a record's package has a candidate's size, and ran as its profile says."""
    size = candidate.known.get("size", UNKNOWN)
    if size.low is None or size.high is None or not size.low <= record.package_bytes <= size.high:
        return False
    asked = made.runtime
    if record.threads != asked.threads:
        return False
    if asked.providers:
        return record.providers == asked.providers
    usual = {it.providers[:1] for it in RUNTIMES if it.target == made.target.name}
    return record.providers in usual


def _is_shipped(made: PackageCandidate) -> bool:
    """Return whether a recipe is one of its target, and not a user's of the same name."""
    name, target = made.recipe.name, made.target
    return name in target.recipes and load_recipe(name, target) == made.recipe
