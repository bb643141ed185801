"""Candidates that are made for a size: mixes that are named, and one that fills a limit's room.

A recipe of a target is a step of sizes; between two of them a limit wastes room. Where recipes lie
beyond the limit and pictures are guarded, a mix of just the limit's size stands beside them: it
wins where nothing smaller draws well enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgegen.choose.space import Space, Wanted, add_candidates, add_refused
from edgegen.core.errors import ConfigError
from edgegen.core.figures import Limit
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.target import TargetSpec
from edgegen.core.targets import load_target
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.mixed import (
    MixedSize,
    make_mixed,
    mix_of,
    named_as,
    parse_mixed,
    sensitivity_of,
    size_named,
)


def add_mixes(
    space: Space,
    models: Sequence[ModelFolder],
    wanted: Wanted,
    limits: Sequence[Limit],
    *,
    profile: DeviceProfile | None,
    targets: Sequence[str],
    progress: Progress,
) -> None:
    """Add the mixes that are named and, where no recipe is, those of the limit on the size.

    These stand beside recipes that are predicted to be larger, where a limit guards the pictures;
    one that there isn't is left out, and a named one is refused with the reason. `targets` are
    those of the device, where none are asked for. The first time, a model's layers are measured in
    torch. Raises what `sensitivity_of` raises.
    """
    named = list(_named(wanted, targets))
    for model in models:
        for target, size in named:
            _add(space, model, load_target(target), size, wanted, profile, progress, is_named=True)
        limit = _limit_bytes(wanted, limits)
        if limit is not None:
            size = size_named(int(limit))
            for target in _beyond(space, model.source, limit):
                _add(space, model, load_target(target), size, wanted, profile, progress)


def _add(
    space: Space,
    model: ModelFolder,
    target: TargetSpec,
    size: MixedSize,
    wanted: Wanted,
    profile: DeviceProfile | None,
    progress: Progress,
    *,
    is_named: bool = False,
) -> None:
    """Add a mix, and one with a shallow graph in the same size where features are kept."""
    intervals = wanted.cache_intervals or (1,)
    for group in ((1,) if 1 in intervals else (), tuple(it for it in intervals if it > 1)):
        if not group:
            continue
        plain = space.facts[model.source]
        here = replace(wanted, cache_intervals=group)
        try:
            facts = plain if group == (1,) else space.cached(model, min(group))
            table = sensitivity_of(facts, progress)
            facts = named_as(facts, table)
            mixed = make_mixed(facts, target, size, table, profile=profile)
        except ConfigError as error:
            if is_named:
                why = f"{error.message} {error.hint}".strip()
                add_refused(space, model, plain, (target.name, size.name), here, why)
            continue
        (space.facts if group == (1,) else space.cached_facts)[model.source] = facts
        add_candidates(space, model, facts, target, mixed.recipe, here, profile)


def _named(wanted: Wanted, targets: Sequence[str]) -> Iterator[tuple[str, MixedSize]]:
    """Yield each target with each mix that is asked for of it, once."""
    seen = set()
    for word in wanted.targets or targets:
        target, colon, own = word.partition(":")
        for name in (own,) if colon else wanted.recipes:
            size = mix_of(name, load_target(target))
            if size is not None and (target, name) not in seen:
                seen.add((target, name))
                yield target, size


def may_mix(wanted: Wanted, limits: Sequence[Limit]) -> bool:
    """Return whether mixes may be among the candidates, for which layers are measured."""
    words = (*wanted.recipes, *(word.partition(":")[2] for word in wanted.targets))
    return _limit_bytes(wanted, limits) is not None or any(map(parse_mixed, words))


def _limit_bytes(wanted: Wanted, limits: Sequence[Limit]) -> float | None:
    """Return the size that mixes are made for; None where nothing asks for them."""
    sizes = [limit.value for limit in limits if limit.figure == "size"]
    named = wanted.recipes or any(":" in target for target in wanted.targets)
    if not sizes or named or not any(limit.kind.of_quality for limit in limits):
        return None
    return min(sizes)


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
