"""What packages of a model would take of a device: a row for each target and recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgegen_runner.runtimes import called, of_target

from edgegen.core.errors import ConfigError
from edgegen.core.figures import Figure
from edgegen.core.measurement import Measurement, Residency
from edgegen.core.model import Component
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.core.trace import ComponentTrace
from edgegen.core.units import format_bytes
from edgegen.packaging.candidate import Candidate, Prediction, make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts
from edgegen.packaging.wanted import Wanted
from edgegen.predict.figures import buffer_figure, memory_figure, size_figure
from edgegen.predict.latency import LatencyPrediction
from edgegen.predict.memory import MemoryPrediction, predict_memory
from edgegen.predict.times import known_of, latency_of
from edgegen.predict.traces import read_traces

RESIDENCIES: tuple[Residency, ...] = ("all", "sequential")

Verdict = Literal["yes", "may", "unknown", "no"]
"""Whether a limit is met: certainly, by the prediction's bounds or not by either of them;
`unknown` where no measurement stands behind it."""

_VERDICTS: tuple[Verdict, ...] = ("yes", "may", "unknown", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What one package would take; `refused` says why there can be none, and nothing is known.

    `memory` is by residency. `fits` says whether it meets the device's limits in the best way of
    running it, `residency`; None without a device. `doubts` are the limits, in words, that it
    breaks there, or may break. `latency` is that of an image in the model's own steps, with all
    components loaded; None where no measurement says anything of it.
    """

    target: str
    recipe: str
    refused: str | None = None
    size: Prediction | None = None
    memory: Mapping[Residency, MemoryPrediction] | None = None
    fits: Verdict | None = None
    residency: Residency | None = None
    doubts: tuple[str, ...] = ()
    latency: LatencyPrediction | None = None


def survey(
    facts: ModelFacts,
    wanted: Sequence[Wanted],
    *,
    profile: DeviceProfile | None,
    width: int | None = None,
    height: int | None = None,
    measurements: Sequence[Measurement] = (),
    progress: Progress | None = None,
) -> tuple[Outlook, ...]:
    """Return the outlook of each wanted package; a recipe of None is each of the target's.

    `measurements` are those of the profile's device, from which latency is scaled.

    Raises the first refusal where all are refused, ConfigError for an unknown target, and
    ExportError where torch cannot trace a network.
    """
    traced: dict[tuple[Component, ...], Mapping[str, ComponentTrace]] = {}
    known = () if profile is None else known_of(measurements, facts, profile, progress)
    rows: list[Outlook] = []
    refusals: list[ConfigError] = []
    for target, recipe in _pairs(wanted):
        spec = load_target(target)
        name = recipe.name if isinstance(recipe, Recipe) else recipe
        try:
            candidate = make_candidate(
                facts,
                spec,
                recipe if isinstance(recipe, Recipe) else load_recipe(recipe, spec),
                profile=profile,
                width=width,
                height=height,
            )
        except ConfigError as error:
            rows.append(Outlook(target=target, recipe=name, refused=error.message))
            refusals.append(error)
            continue
        if candidate.components not in traced:  # most recipes share them
            traced[candidate.components] = read_traces(candidate, facts, progress=progress)
        traces = traced[candidate.components]
        outlook = _outlook(candidate, facts, traces)
        rows.append(replace(outlook, latency=latency_of(candidate, facts, traces, known)))
    if rows and len(refusals) == len(rows):
        raise refusals[0]
    return tuple(rows)


def backend_of(candidate: Candidate) -> str:
    """Return the runtime that a candidate's device runs it with, else its target's first."""
    known = of_target(candidate.target.name)
    return (called(candidate.runtime.package, known) or known[0]).name


def _pairs(wanted: Sequence[Wanted]) -> Iterator[tuple[str, str | Recipe]]:
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
    outlook = Outlook(
        target=candidate.target.name, recipe=candidate.recipe.name, size=size, memory=memory
    )
    if candidate.profile is None:
        return outlook
    found = {it: tuple(_verdicts(size, memory[it], candidate.profile)) for it in RESIDENCIES}
    worst = {it: max((verdict for _, verdict in found[it]), key=_VERDICTS.index) for it in found}
    best = min(RESIDENCIES, key=lambda it: _VERDICTS.index(worst[it]))
    return replace(
        outlook,
        fits=worst[best],
        residency=best,
        doubts=tuple(words for words, verdict in found[best] if verdict != "yes"),
    )


def _verdicts(
    size: Prediction, memory: MemoryPrediction, profile: DeviceProfile
) -> Iterator[tuple[str, Verdict]]:
    """Yield each limit of a device, in words, and whether one way of running a package meets it."""
    memories = (profile.application_memory_bytes, profile.budget.peak_memory_bytes)
    for what, figure, limit, unmeasured in (
        (
            "memory",
            memory_figure(memory),
            min(it for it in memories if it is not None),
            memory.unmeasured,
        ),
        ("size", size_figure(size), profile.budget.package_bytes, False),
        ("largest buffer", buffer_figure(memory), profile.largest_buffer_bytes, memory.unmeasured),
    ):
        if limit is not None and figure.value is not None:
            words = f"{what} {format_bytes(round(figure.value))} of {format_bytes(limit)}"
            yield words, verdict_of(figure, limit, unmeasured=unmeasured)


def verdict_of(figure: Figure, limit: float, *, unmeasured: bool = False) -> Verdict:
    """Return whether a prediction is below a limit, by its bounds."""
    assert figure.low is not None
    assert figure.high is not None
    if figure.low > limit:
        return "no"
    if unmeasured:
        return "unknown"
    return "yes" if figure.high <= limit else "may"
