"""Candidates that are made for a size: the best mix of storages that a limit leaves room for.

A recipe of a target is a step of sizes; between two of them a limit wastes room. Where recipes lie
beyond the limit and pictures are guarded, a mix of just the limit's size stands beside them: it
wins where nothing smaller draws well enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.choose.space import Space, Wanted, add_candidates
from edgegen.core.errors import ConfigError
from edgegen.core.figures import Limit
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.targets import load_target
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.mixed import make_mixed, named_as, sensitivity_of, size_named


def add_mixes(
    space: Space,
    models: Sequence[ModelFolder],
    wanted: Wanted,
    limits: Sequence[Limit],
    *,
    profile: DeviceProfile | None,
    progress: Progress,
) -> None:
    """Add a mix for each model and target that has recipes beyond the limit on the size.

    The first time, a model's layers are measured in torch. Nothing is added where recipes were
    named, where no limit is on the size or none on the pictures, and where no mix is so small.
    """
    sizes = [limit.value for limit in limits if limit.figure == "size"]
    named = wanted.recipes or any(":" in target for target in wanted.targets)
    if not sizes or named or not any(limit.kind.of_quality for limit in limits):
        return
    size = size_named(int(min(sizes)))
    for model in models:
        for target in _beyond(space, model.source, min(sizes)):
            facts = space.facts[model.source]
            table = sensitivity_of(facts, progress)
            facts = named_as(facts, table)
            space.facts[model.source] = facts
            spec = load_target(target)
            try:
                mixed = make_mixed(facts, spec, size, table, profile=profile)
            except ConfigError:  # nothing is so small
                continue
            add_candidates(space, model, facts, spec, mixed.recipe, wanted, profile)


def _beyond(space: Space, model: str, size_bytes: float) -> list[str]:
    """Return the targets that have a package of a model which is predicted to be larger."""
    found = []
    for candidate in space.candidates:
        figure = candidate.known.get("size")
        if candidate.way.model != model or figure is None or figure.value is None:
            continue
        if figure.value > size_bytes:
            found.append(candidate.way.target)
    return list(dict.fromkeys(found))
