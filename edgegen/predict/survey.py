"""What packages of a model would take of a device: a row for each target and recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgegen_runner.runtimes import called, of_target

from edgegen.core.errors import ConfigError
from edgegen.core.measurement import Residency
from edgegen.core.model import Component
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.core.trace import ComponentTrace
from edgegen.core.units import format_bytes
from edgegen.packaging.candidate import Candidate, Prediction, make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts
from edgegen.packaging.wanted import Wanted
from edgegen.predict.memory import MemoryPrediction, predict_memory
from edgegen.predict.traces import read_traces

RESIDENCIES: tuple[Residency, ...] = ("all", "sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one package would take; `refused` says why there can be none, and nothing is known.

    `memory` is by residency. `fits` is the residency in which it meets the device's limits, `all`
    where any does. `broken` are the limits, in words, that it breaks in every way of running it.
    """

    target: str
    recipe: str
    refused: str | None = None
    size: Prediction | None = None
    memory: Mapping[Residency, MemoryPrediction] | None = None
    fits: Residency | None = None
    broken: tuple[str, ...] = ()


def survey(
    facts: ModelFacts,
    wanted: Sequence[Wanted],
    *,
    profile: DeviceProfile | None,
    width: int | None = None,
    height: int | None = None,
    progress: Progress | None = None,
) -> tuple[Outlook, ...]:
    """Return the outlook of each wanted package; a recipe of None is each of the target's.

    Raises ConfigError for an unknown target, recipe or size, and ExportError where torch cannot
    trace a network.
    """
    traced: dict[tuple[Component, ...], Mapping[str, ComponentTrace]] = {}
    rows = []
    for target, recipe in _pairs(wanted):
        spec = load_target(target)
        try:
            candidate = make_candidate(
                facts,
                spec,
                load_recipe(recipe, spec),
                profile=profile,
                width=width,
                height=height,
            )
        except ConfigError as error:
            rows.append(Outlook(target=target, recipe=recipe, refused=error.message))
            continue
        if candidate.components not in traced:  # most recipes share them
            traced[candidate.components] = read_traces(candidate, facts, progress=progress)
        rows.append(_outlook(candidate, facts, traced[candidate.components]))
    refusals = [row.refused for row in rows if row.refused is not None]
    if rows and len(refusals) == len(rows):
        raise ConfigError(refusals[0], hint="Give another target, recipe, size or profile.")
    return tuple(rows)


def backend_of(candidate: Candidate) -> str:
    """Return the runtime that a candidate's device runs it with, else its target's first."""
    known = of_target(candidate.target.name)
    options = candidate.profile and candidate.profile.runtime(candidate.target.name)
    named = called(options.package, known) if options else None
    return (named or known[0]).name


def _pairs(wanted: Sequence[Wanted]) -> Iterator[tuple[str, str]]:
    for each in wanted:
        recipes = (each.recipe,) if each.recipe is not None else load_target(each.target).recipes
        yield from ((each.target, recipe) for recipe in recipes)


def _outlook(
    candidate: Candidate, facts: ModelFacts, traces: Mapping[str, ComponentTrace]
) -> Outlook:
    size = predict(candidate, facts)
    memory = {
        residency: predict_memory(
            candidate, facts, traces, backend=backend_of(candidate), residency=residency
        )
        for residency in RESIDENCIES
    }
    broken = {
        residency: tuple(_broken(size, memory[residency], candidate.profile))
        for residency in RESIDENCIES
    }
    meets = next((it for it in RESIDENCIES if not broken[it]), None)
    return Outlook(
        target=candidate.target.name,
        recipe=candidate.recipe.name,
        size=size,
        memory=memory,
        fits=meets if candidate.profile is not None else None,
        broken=() if meets is not None else broken["sequential"],
    )


def _broken(
    size: Prediction, memory: MemoryPrediction, profile: DeviceProfile | None
) -> Iterator[str]:
    """Yield the limits of a device that a package breaks in one way of running it."""
    if profile is None:
        return
    memories = (profile.application_memory_bytes, profile.budget.peak_memory_bytes)
    for what, value, limit in (
        ("memory", memory.peak_bytes, min(it for it in memories if it is not None)),
        ("size", size.package_bytes, profile.budget.package_bytes),
        ("largest buffer", memory.largest_buffer_bytes, profile.largest_buffer_bytes),
    ):
        if limit is not None and value > limit:
            yield f"{what} {format_bytes(value)} of {format_bytes(limit)}"
