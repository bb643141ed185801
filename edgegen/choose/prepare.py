"""Makes a choice ready to run: the device, its profile, the limits, the candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgegen_runner.contexts import CONTEXTS

from edgegen.choose.cache import Cache
from edgegen.choose.foreseen import memory_of_packages
from edgegen.choose.history import measured_elsewhere
from edgegen.choose.jobs import DeviceRef, Jobs
from edgegen.choose.limits import complete, require_energy, require_quality
from edgegen.choose.mixes import add_mixes
from edgegen.choose.originals import originals_of
from edgegen.choose.problem import Candidate, Problem
from edgegen.choose.search import Search
from edgegen.choose.space import Space, Wanted, make_space
from edgegen.core.choice import Way
from edgegen.core.errors import ConfigError, EdgegenError, nearest
from edgegen.core.figures import Figure, Limit
from edgegen.core.files import file_names
from edgegen.core.profile import DeviceProfile
from edgegen.core.progress import Progress
from edgegen.devices.device import Device
from edgegen.devices.match import matching_profile
from edgegen.devices.sensors import MEASURES
from edgegen.evaluate.settings import quality_names
from edgegen.models.model_folder import ModelFolder
from edgegen.packaging.source_hash import weights_sha256
from edgegen.runner.backend_choice import Wishes, choose_backend
from edgegen.runner.runtimes import RUNTIMES, is_for_devices

_ENERGY_READINGS = ("power_w.", "energy_j.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a command line asks for; `limits` are those that were given."""

    models: tuple[ModelFolder, ...]
    wanted: Wanted
    limits: tuple[Limit, ...]
    prefer: tuple[str, ...] = ()
    pictures: int | None = None
    sustained_s: float | None = None
    patience_s: float | None = None
    exhaustive: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where packages are to run: a device that is here, or only its profile.

    `targets` are those that it can run; `lacking` says of others why not. `has_energy` is whether
    it has a sensor of power or energy.
    """

    device: DeviceRef | None
    title: str
    profile: DeviceProfile | None
    targets: tuple[str, ...]
    lacking: Mapping[str, str]
    has_energy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A choice that can run."""

    place: Place
    limits: tuple[Limit, ...]
    space: Space
    search: Search
    jobs: Jobs
    warnings: tuple[str, ...]


def place_of_device(device: Device, root: str | None, profile: DeviceProfile | None) -> Place:
    """Return what is to be known of a device that is connected.

    Without a profile it is the one that fits the device; this machine has none.
    """
    facts = device.facts
    if profile is None and not device.is_local:
        profile = matching_profile(facts)
    known = [runtime.target for runtime in RUNTIMES if runtime.target != CONTEXTS]
    if profile is not None:
        known = [options.target for options in profile.runtimes]
    targets, lacking = [], {}
    for target in dict.fromkeys(known):
        try:
            backend = choose_backend(device, target, Wishes(profile=profile))
        except EdgegenError as error:
            lacking[target] = error.message
            continue
        if is_for_devices(backend.name):
            targets.append(target)
        else:
            lacking[target] = f"this machine has no runtime for {target}"
    identity = {
        "address": device.address,
        "host_name": facts.host_name,
        "model": facts.model,
        "machine": facts.machine,
        "processor": facts.processor,
        "cores": facts.cores,
        "cpu_quota": facts.cpu_quota,
        "memory_bytes": facts.memory_bytes,
        "packages": {} if facts.runtime is None else dict(facts.runtime.packages),
    }
    title = "this machine" if device.is_local else (facts.model or device.address)
    return Place(
        device=DeviceRef(address=device.address, root=root, identity=identity),
        title=title,
        profile=profile,
        targets=tuple(targets),
        lacking=lacking,
        has_energy=any(name.startswith(_ENERGY_READINGS) for name in facts.sensors),
    )


def place_of_profile(profile: DeviceProfile) -> Place:
    """Return what a profile says of a device that isn't here."""
    return Place(
        device=None,
        title=profile.title,
        profile=profile,
        targets=tuple(dict.fromkeys(options.target for options in profile.runtimes)),
        lacking={},
        has_energy=bool(MEASURES["energy"] & set(profile.sensors)),
    )


def prepare(asked: Asked, place: Place, cache: Cache, progress: Progress) -> Prepared:
    """Return a choice that can run. Nothing is built, judged or measured yet.

    Raises ConfigError for limits, models or targets that make no sense, and SourceError for a model
    that cannot be read, or was pruned from one that isn't given.
    """
    limits = complete(asked.limits, place.profile)
    models = {model.source: model for model in asked.models}
    require_energy(limits, profile=place.profile, has_energy=place.has_energy)
    prefer = _preferred(asked.prefer, models)
    space = make_space(
        tuple(models.values()), asked.wanted, profile=place.profile, targets=place.targets
    )
    originals = originals_of(space, models, progress)
    add_mixes(
        space,
        tuple(models.values()),
        asked.wanted,
        limits,
        profile=place.profile,
        targets=place.targets,
        progress=progress,
    )
    judged = {name: quality_names(facts.spec) for name, facts in space.facts.items()}
    require_quality(limits, judged)
    if not space.candidates:
        raise ConfigError(
            "There is no candidate: no target is asked for that the device runs.",
            hint="; ".join(f"{it}: {why}" for it, why in place.lacking.items())
            or "Give --targets or --recipes that exist.",
        )
    limited = {limit.figure for limit in limits}
    sustained_s = asked.sustained_s if "slowdown" in limited else None
    problem = Problem(
        candidates=_known(space, place, progress, with_memory="memory" in limited),
        limits=limits,
        evaluated=frozenset.intersection(*judged.values()),
        measured=_measurable(place, limited),
        prefer=prefer,
        exhaustive=asked.exhaustive,
        finishes=True,
        originals=originals,
    )
    search = Search(problem)
    jobs = Jobs(
        space=space,
        search=search,
        cache=cache,
        models=models,
        profile=place.profile,
        device=place.device,
        pictures=asked.pictures,
        sustained_s=sustained_s,
        patience_s=asked.patience_s,
        progress=progress,
    )
    return Prepared(
        place=place,
        limits=limits,
        space=space,
        search=search,
        jobs=jobs,
        warnings=_warnings(problem, place),
    )


def _measurable(place: Place, limited: set[str]) -> frozenset[str]:
    """Return the figures that measuring tells here."""
    if place.device is None:
        return frozenset()
    found = {"latency", "memory"}
    if place.has_energy:
        found.add("energy")
    if "slowdown" in limited:
        found.add("slowdown")
    return frozenset(found)


def _preferred(prefer: Sequence[str], models: Mapping[str, ModelFolder]) -> tuple[str, ...]:
    for name in prefer:
        if name not in models:
            raise ConfigError(
                f"--prefer names '{name:.80}', which isn't one of the models.",
                hint=nearest(name, models),
            )
    return tuple(dict.fromkeys(prefer))


def _known(
    space: Space, place: Place, progress: Progress, *, with_memory: bool
) -> tuple[Candidate, ...]:
    """Return the candidates with what is known of them besides their size, or why none can run.

    Memory is predicted where it is limited, or cannot be measured.
    """
    elsewhere: Mapping[Way, Mapping[str, Figure]] = {}
    if place.device is None and place.profile is not None:
        weights = {
            name: weights_sha256(facts.folder, facts.spec.components, progress)
            for name, facts in space.facts.items()
        }
        elsewhere = measured_elsewhere(
            space.candidates, space.built_as, weights, place.profile.name
        )
    memory: Mapping[tuple[str, int, int], Figure] = {}
    if with_memory or place.device is None:
        memory = memory_of_packages(space, place.profile, progress)
    return tuple(
        replace(
            candidate,
            known={
                **candidate.known,
                **_memory_of(candidate, memory),
                **elsewhere.get(candidate.way, {}),
            },
            refused=candidate.refused or place.lacking.get(candidate.way.target, ""),
        )
        for candidate in space.candidates
    )


def _memory_of(
    candidate: Candidate, memory: Mapping[tuple[str, int, int], Figure]
) -> Mapping[str, Figure]:
    figure = memory.get((candidate.package, candidate.way.width, candidate.way.height))
    return {} if figure is None else {"memory": figure}


def _warnings(problem: Problem, place: Place) -> tuple[str, ...]:
    said = []
    if not problem.guards_quality:
        said.append(
            "No limit guards the quality of the pictures: the smallest package wins, whatever it "
            "draws. Add --min-psnr, --min-ssim or --min-right."
        )
    if not problem.compares_models:
        said.append(
            "Nothing compares pictures of different models: there is a winner for each model. "
            "Give --min-right where it can be told, or your order: --prefer A,B."
        )
    if place.device is None:
        said.append(
            f"{place.title} isn't here: its memory is predicted, and its latency is known only "
            "where the history has it."
        )
    return tuple(said)


def output_folder(given: Path | None, models: Sequence[ModelFolder], place: Place) -> Path:
    """Return where the result goes: `choice-<models>-<device>` by default."""
    if given is not None:
        return given
    names = "-".join(model.name for model in models)
    device = "profile" if place.profile is None else place.profile.name
    if place.device is not None and place.profile is None:
        identity = place.device.identity  # of a farm, the name that its devices share
        device = identity.get("host_name") or identity.get("name") or "device"
        if place.device.address == "local":
            device = "local"
    return Path(*file_names([f"choice-{names}-{device}"]))
