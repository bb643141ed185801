"""Compares two measurements: latency, memory, energy and size."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace

from edgegen.compare.values import (
    CONFIDENCE,
    SCHEMA_VERSION,
    Comparison,
    FigureChange,
    Side,
    change_of,
    size_change,
    unknown,
)
from edgegen.core.errors import ConfigError
from edgegen.core.measurement import Measurement, Workload
from edgegen.statistics.comparisons import Change, compare_repeats, compare_restarts
from edgegen.statistics.energy import ImageEnergy, image_energies, whole
from edgegen.statistics.latencies import Restarts, compare_interleaved
from edgegen.statistics.series import steady_images

OTHER_WEIGHTS = "The model has the same name and other weights on both sides:"

MEMORY_SPREAD = 0.02
"""How much the peak memory of one package may differ from run to run, as a share of it. The
resident size of one package differed by 1.0 % in two runs on a busy machine."""


def compare_measurements(
    old: Measurement, new: Measurement, *, names: tuple[str, str], in_turns: bool = False
) -> Comparison:
    """Compare two measurements of the same model, work and kind of device.

    With `in_turns` their processes ran alternately, and are compared in pairs. Raises ConfigError
    that says what differs where they cannot be compared.
    """
    check_same(old, new, names)
    return Comparison(
        schema_version=SCHEMA_VERSION,
        old=side_of(old, names[0]),
        new=side_of(new, names[1]),
        how="processes in turns, in pairs" if in_turns else "one after the other",
        changes=(
            latency_change(old, new, in_turns=in_turns),
            memory_change(old, new),
            energy_change(old, new),
            size_change(old.package.package_bytes, new.package.package_bytes),
        ),
        notes=(*_notes(old, new), *(() if in_turns else (_NOT_IN_TURNS,))),
    )


_NOT_IN_TURNS = (
    "The two were measured one after the other: what changed on the device between them (heat, "
    "load, clocks) counts as a difference. `edgegen compare OLD NEW --device DEVICE`, with two "
    "packages, runs them in turns."
)


def check_same(old: Measurement, new: Measurement, names: tuple[str, str]) -> None:
    """Raise ConfigError that says what differs where two measurements are not of the same."""
    _refuse(_facts(old, new), names)


def check_same_work(
    old: Workload,
    new: Workload,
    *,
    names: tuple[str, str],
    same_target: bool,
    same_weights: bool = True,
) -> None:
    """Raise ConfigError that says what differs where two workloads are not of the same length.

    Packages of other weights may be given other LoRAs: those of one may be in its weights.
    """
    facts = _work_facts(old, new, same_target=same_target, same_weights=same_weights)
    _refuse(facts, names)


def _refuse(facts: Mapping[str, tuple[object, object]], names: tuple[str, str]) -> None:
    differing = [f"{what}: {a} and {b}" for what, (a, b) in facts.items() if a != b]
    if differing:
        raise ConfigError(
            f"{names[0]} and {names[1]} cannot be compared. They differ in {'; '.join(differing)}.",
            hint="Measure both with the same options on the same device.",
        )


def _facts(old: Measurement, new: Measurement) -> Mapping[str, tuple[object, object]]:
    """Return what has to be equal, by its name."""
    facts: dict[str, tuple[object, object]] = {}
    same_weights = old.package.weights_sha256 == new.package.weights_sha256
    if not same_weights:  # the name of a copy is no matter
        facts["model"] = (old.package.model, new.package.model)
    facts |= _work_facts(
        old.workload,
        new.workload,
        same_target=old.package.target == new.package.target,
        same_weights=same_weights,
    )
    for name in ("model", "processor", "machine"):
        facts[f"device's {name}"] = (
            getattr(old.environment, name),
            getattr(new.environment, name),
        )
    facts["emulation"] = (old.environment.emulated, new.environment.emulated)
    return facts


def _work_facts(
    old: Workload, new: Workload, *, same_target: bool, same_weights: bool
) -> dict[str, tuple[object, object]]:
    names = (
        *("steps", "guidance", "guidance_start", "guidance_stop", "cache_interval"),
        *("scheduler", "threads", "residency", "memory", "arithmetic"),
        *("guidance_batch", "decode_tile", "max_memory_bytes"),
    )
    facts: dict[str, tuple[object, object]] = {
        name: (getattr(old, name), getattr(new, name)) for name in names
    }
    if same_weights:
        facts["loras"] = (", ".join(old.loras) or "none", ", ".join(new.loras) or "none")
    facts["size"] = (f"{old.width}×{old.height}", f"{new.width}×{new.height}")
    if same_target:
        facts["providers"] = (", ".join(old.providers), ", ".join(new.providers))
    return facts


def side_of(measurement: Measurement, name: str) -> Side:
    """Return what a comparison says of one side."""
    package, environment = measurement.package, measurement.environment
    return Side(
        name=name,
        model=package.model,
        target=package.target,
        recipe=package.recipe,
        manifest_sha256=package.manifest_sha256,
        device=environment.model or environment.processor or environment.machine,
        started_at=environment.started_at,
    )


def latency_change(old: Measurement, new: Measurement, *, in_turns: bool) -> FigureChange:
    """Return how the median latency of a steady image changed."""
    if old.environment.emulated:
        return unknown("latency", "the processor is emulated, and its times mean nothing")
    before, after = _steady(old), _steady(new)
    if not any(map(len, before)) or not any(map(len, after)):
        return unknown("latency", "a side has no steady images")
    if in_turns and not any(a and b for a, b in zip(before, after, strict=False)):
        return unknown("latency", "no pair of processes has steady images on both sides")
    if in_turns:
        change = _paired(before, after)
    else:
        change = compare_restarts(before, after, CONFIDENCE)
    return change_of(
        "latency",
        (_median(before), _median(after)),
        change,
        "it needs three restarts, and two images in each, on both sides",
    )


def memory_change(old: Measurement, new: Measurement) -> FigureChange:
    """Return how the peak memory changed, the highest of the memory runs.

    PSS is sampled, and a peak between two samples is missed where the machine is busy. The kernel
    misses none of the resident size, which counts shared pages in full. So both are looked at, and
    what they disagree by is uncertain.
    """
    before, after = _peaks(old, "peak_pss_bytes"), _peaks(new, "peak_pss_bytes")
    if not before or not after:
        side = "OLD" if not before else "NEW"
        return unknown("memory", f"{side} has no memory run, or the device doesn't tell")
    old_bytes, new_bytes = max(before), max(after)
    value = new_bytes / old_bytes - 1
    witnesses = [value]
    resident = _peaks(old, "peak_resident_bytes"), _peaks(new, "peak_resident_bytes")
    if all(resident) and _is_one_process(old) and _is_one_process(new):
        witnesses.append(max(resident[1]) / max(resident[0]) - 1)
    change = Change(
        value=value, low=min(witnesses) - MEMORY_SPREAD, high=max(witnesses) + MEMORY_SPREAD
    )
    return change_of("memory", (old_bytes, new_bytes), change, "")


def energy_change(old: Measurement, new: Measurement) -> FigureChange:
    """Return how the energy of a steady image changed, as the outermost sensor saw it."""
    if old.environment.emulated:
        return unknown("energy", "the processor is emulated")
    before, after = _energy(old), _energy(new)
    if before is None or after is None:
        side = "OLD" if before is None else "NEW"
        return unknown("energy", f"{side} has no sensor that sees all of the device")
    if before.sensor != after.sensor:
        return unknown("energy", f"OLD's is of {before.sensor}, NEW's of {after.sensor}")
    change = compare_repeats(before.restarts_j, after.restarts_j, CONFIDENCE)
    return change_of(
        "energy", (before.image_j, after.image_j), change, "it needs two restarts on both sides"
    )


def _paired(old: Restarts, new: Restarts) -> Change | None:
    """Compare processes that ran in turns, as far as both have the same images."""
    pairs = [
        (before[:count], after[:count])
        for before, after in zip(old, new, strict=False)
        if (count := min(len(before), len(after)))
    ]
    if not pairs or any(value <= 0 for pair in pairs for side in pair for value in side):
        return None
    found = compare_interleaved(
        [before for before, _ in pairs], [after for _, after in pairs], confidence=CONFIDENCE
    )
    interval = found.interval
    return Change(
        value=found.ratio - 1,
        low=None if interval is None else interval.low - 1,
        high=None if interval is None else interval.high - 1,
    )


def _steady(measurement: Measurement) -> list[list[float]]:
    return [
        [image.latency_s for image in steady_images(run)] for run in measurement.of_kind("steady")
    ]


def _median(restarts: Restarts) -> float:
    return statistics.median(value for values in restarts for value in values)


def _peaks(measurement: Measurement, name: str) -> list[int]:
    """Return a peak of each memory run, where the device tells it."""
    return [
        size_bytes
        for run in measurement.of_kind("memory")
        if run.memory is not None and (size_bytes := getattr(run.memory, name))
    ]


def _is_one_process(measurement: Measurement) -> bool:
    """Return whether the runner started no other: the resident size is that of one process."""
    return all(
        run.memory is not None and run.memory.processes == 1
        for run in measurement.of_kind("memory")
    )


def _energy(measurement: Measurement) -> ImageEnergy | None:
    """Return the energy of steady images; those of a sustained run are made on a hot device."""
    return whole(image_energies(replace(measurement, runs=measurement.of_kind("steady"))))


def _notes(old: Measurement, new: Measurement) -> list[str]:
    """Return what should be known when the figures are read."""
    notes = []
    for name, side in (("OLD", old), ("NEW", new)):
        if side.interrupted is not None:
            notes.append(f"{name} was cut short: {side.interrupted}.")
        if side.quick:
            notes.append(f"{name} was measured with --quick, which is a look and no measurement.")
    if old.package.weights_sha256 != new.package.weights_sha256:
        notes.append(f"{OTHER_WEIGHTS} for latency, memory and energy that is no matter.")
    if old.package.revision != new.package.revision:
        notes.append(f"The model's revisions: {old.package.revision} and {new.package.revision}.")
    before, after = old.environment.versions, new.environment.versions
    changed = [
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if changed:
        notes.append(f"Versions: {', '.join(changed)}.")
    if old.environment.governor != new.environment.governor:
        governors = f"{old.environment.governor} and {new.environment.governor}"
        notes.append(f"The clocks' governors: {governors}.")
    return notes
