"""What was measured on a device, with the arithmetic of its images: latency is scaled from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgegen.core.errors import ConfigError
from edgegen.core.measurement import Measurement
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.core.trace import ComponentTrace
from edgegen.models.model_folder import ModelFolder
from edgegen.models.source import builtin_models, resolve
from edgegen.packaging.candidate import Candidate, make_candidate
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.predict.latency import Known, LatencyPrediction, Wanted, predict_latency
from edgegen.predict.runtime_memory import MEASURED_ON
from edgegen.predict.traces import read_traces
from edgegen.predict.work import work_of


def known_of(
    measurements: Sequence[Measurement],
    facts: ModelFacts,
    profile: DeviceProfile,
    progress: Progress | None = None,
) -> tuple[Known, ...]:
    """Return those of a device's measurements that latency can be scaled from.

    They are of the model itself or of one that ships, drawn as the profile says. The first time
    that a model is traced at a size takes a process with torch. Raises ExportError where that
    fails.
    """
    models: dict[str, ModelFacts | None] = {
        **dict.fromkeys(_shipped_models()),
        facts.spec.source: facts,
    }
    found = []
    for measurement in measurements:
        name, work = measurement.package.model, measurement.workload
        own = name == facts.spec.source
        if name not in models or (own and not _is_same(measurement, facts)):
            continue
        model = models[name] = models[name] or read_facts(resolve(name))
        try:
            model = _as_drawn(model, measurement)
        except ConfigError:  # the model has changed since
            continue
        candidate = _candidate(measurement, model, profile)
        if candidate is None or not _drawn_so(measurement, candidate):
            continue
        traces = read_traces(candidate, model, guidance=work.guidance, progress=progress)
        operations = work_of(
            candidate,
            traces,
            steps=work.steps,
            guidance=work.guidance,
            scheduler=work.scheduler,
        )
        found.append(Known(measurement=measurement, work=operations))
    return tuple(found)


def latency_of(
    candidate: Candidate,
    facts: ModelFacts,
    traces: Mapping[str, ComponentTrace],
    known: Sequence[Known],
) -> LatencyPrediction | None:
    """Return how long an image of a candidate's package takes; None where nothing says it.

    The latest measurement of the model itself says which weights are its own.
    """
    wanted = Wanted(
        target=candidate.target.name,
        recipe=candidate.recipe.name,
        work=work_of(candidate, traces),
    )
    for it in known:
        if it.measurement.package.model == facts.spec.source:
            wanted = replace(wanted, weights_sha256=it.measurement.package.weights_sha256)
            break
    return predict_latency(wanted, known)


def _shipped_models() -> tuple[str, ...]:
    return tuple(f"builtin:{it}" for it in builtin_models())


def _is_same(measurement: Measurement, facts: ModelFacts) -> bool:
    """Return whether the model of a name is still what was measured: a folder may have changed."""
    spec, package = facts.spec, measurement.package
    fixed = spec.revision is not None or spec.source in _shipped_models()
    return fixed and package.revision == spec.revision


def _as_drawn(facts: ModelFacts, measurement: Measurement) -> ModelFacts:
    """Return a model's facts as its package drew: guided in a part, features kept."""
    spec, work = facts.spec, measurement.workload
    if work.cache_interval > 1 and spec.generation.cache_interval == 1:
        folder = ModelFolder(
            path=facts.folder, source=spec.source, revision=spec.revision, variant=spec.variant
        )
        facts = read_facts(folder, steps=work.steps, cache_interval=work.cache_interval)
    generation = replace(
        facts.spec.generation,
        guidance_start=work.guidance_start,
        guidance_stop=work.guidance_stop,
        cache_interval=work.cache_interval,
    )
    return replace(facts, spec=replace(facts.spec, generation=generation))


def _candidate(
    measurement: Measurement, facts: ModelFacts, profile: DeviceProfile
) -> Candidate | None:
    """Return the package that was measured; None where the profile has nothing like it."""
    package, work = measurement.package, measurement.workload
    if profile.runtime(package.target) is None:
        return None
    target = load_target(package.target)
    if package.recipe not in target.recipes:
        return None
    try:
        return make_candidate(
            facts,
            target,
            load_recipe(package.recipe, target),
            profile=profile,
            width=work.width,
            height=work.height,
        )
    except ConfigError:  # the profile has changed since
        return None


def _drawn_so(measurement: Measurement, candidate: Candidate) -> bool:
    """Return whether a measurement was made as a candidate's profile says."""
    work, options = measurement.workload, candidate.runtime
    providers = options.providers or tuple(MEASURED_ON.values())
    return (
        (work.residency, work.memory, work.threads) == ("all", "auto", options.threads)
        and work.arithmetic == options.arithmetic
        and bool(work.providers)
        and work.providers[0] in (providers[:1] if options.providers else providers)
    )
