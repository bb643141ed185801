"""Says what must be known to judge a measurement: what it is short of, and what disturbed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgegen.core.limits import silence_of
from edgegen.core.measurement import Environment, Measurement
from edgegen.core.units import format_bytes
from edgegen.statistics.changepoints import MINIMUM_STEPS
from edgegen.statistics.held_back import quota_sentence, since_boot_sentence
from edgegen.statistics.latencies import INTERVAL_RESTARTS, NOISY_SPREAD, P90_COUNT
from edgegen.statistics.series import SeriesName, steady_images, timed_images
from edgegen.statistics.sustained import Sustained
from edgegen.statistics.throttling import MINIMUM_S
from edgegen.statistics.timings import Timings

Weight = Literal["note", "warning"]

BUSY_LOAD_A_CORE = 0.25
"""A load average above this, for each core, says that something else wanted the processor."""
LEAST_BUSY_LOAD = 0.5
OUTSIDE_RUNTIME_SHARE = 0.01
SAMPLING_SHARE = 0.01
"""Sensors whose reading takes more of a core than this are reported: they slow what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about a measurement; a warning says that its figures may mislead."""

    weight: Weight
    text: str


def findings(measurement: Measurement, timings: Timings | None) -> tuple[Finding, ...]:
    """Return what must be said with the figures, the gravest first.

    `timings` are None where times mean nothing. That the device was held back comes before the
    figures, and isn't among these.
    """
    found = [
        *_about_limits(measurement),
        *_about_the_device(measurement.environment),
        *_about_the_start(measurement),
        *_about_the_images(measurement),
        *_about_what_is_missing(measurement, is_timed=timings is not None),
        *(Finding(weight="warning", text=text) for text in measurement.warnings),
        *_about_the_unseen(measurement),
    ]
    if timings is not None:
        found += [each for run in timings.sustained for each in _about_a_sustained_run(run)]
        found += [*_about_the_noise(timings), *_about_the_timing(timings)]
    said = {text for run in measurement.runs for text in run.warnings}
    found += [Finding(weight="warning", text=f"The runner says: {text}") for text in sorted(said)]
    return tuple(sorted(found, key=lambda finding: finding.weight != "warning"))


def busy_threshold(cores: int | None) -> float:
    return max(LEAST_BUSY_LOAD, BUSY_LOAD_A_CORE * (cores or 1))


def _about_the_device(environment: Environment) -> list[Finding]:
    found = []
    if environment.emulated:
        found.append(
            _warning(
                "The processor is emulated: its times mean nothing. No latency, rate or energy is "
                "shown; the raw samples are kept, to see what it did and never how fast."
            )
        )
    if environment.operating_system.startswith("Android"):
        found.append(
            _note(
                "CPU: on Android the runner reaches no GPU or NPU; an app or benchmark_model does."
            )
        )
    if environment.virtual_machine:
        name = f" ({environment.hypervisor})" if environment.hypervisor else ""
        found.append(_note(f"A virtual machine{name}: its host's other guests can disturb it."))
    load = environment.load_average
    if load is not None and load[0] > busy_threshold(environment.cores):
        found.append(
            _warning(
                f"The machine was busy at the start: load average {load[0]:.2f} on "
                f"{environment.cores or '?'} cores. Its latencies may be too long."
            )
        )
    if environment.governor not in (None, "performance"):
        found.append(
            _note(f"The frequency governor is '{environment.governor}', not 'performance'.")
        )
    return found


def _about_limits(measurement: Measurement) -> list[Finding]:
    notes = (quota_sentence(measurement), since_boot_sentence(measurement))
    found = [_note(text) for text in notes if text is not None]
    device = measurement.environment
    if device.memory_limit_bytes is not None:
        found.append(
            _note(
                f"Its control group allows {format_bytes(device.memory_limit_bytes)} of memory: a "
                "runner that takes more is killed."
            )
        )
    for tool, why in device.silent.items():
        silence = silence_of(tool, why)
        found.append(
            _warning(
                f"{tool} does not answer: {silence.reason}. So throttling may go unseen. "
                f"Mend it: {silence.command}"
            )
        )
    return found


def _about_the_start(measurement: Measurement) -> list[Finding]:
    start = measurement.start_temperature
    if start is None:
        if not measurement.of_kind("sustained"):
            return []
        return [_note("No temperature was awaited before the start: no sensor reported one.")]
    if start.reached:
        return []
    wanted = (
        "it was still falling"
        if start.wanted_c is None
        else f"{start.wanted_c:.1f} °C was asked for"
    )
    return [
        _warning(
            f"Not cooled down at the start: {start.last_c:.1f} °C after {start.waited_s:.0f} s of "
            f"waiting, and {wanted}. A warm device throttles sooner."
        )
    ]


def _about_the_images(measurement: Measurement) -> list[Finding]:
    found = []
    if not measurement.golden:
        found.append(
            _note("The package has no golden case: that the images are right was not checked.")
        )
    by_seed: dict[int, set[str]] = {}
    for run in measurement.runs:
        for image in run.images:
            if image.sha256 is not None:
                by_seed.setdefault(image.seed, set()).add(image.sha256)
    if any(len(hashes) > 1 for hashes in by_seed.values()):
        found.append(
            _note("The same seed did not always give the same bytes: the runtime is not bit-exact.")
        )
    return found


def _about_the_noise(timings: Timings) -> list[Finding]:
    found, series = [], timings.series
    noisy: tuple[SeriesName, ...] = ("steady_image", "step")
    for name in noisy:
        if name in series and series[name].summary.is_noisy:
            summary = series[name].summary
            found.append(
                _warning(
                    f"Noisy: the {name.replace('_', ' ')}'s median deviation is "
                    f"{100 * summary.spread:.0f} % of its median, above "
                    f"{100 * NOISY_SPREAD:.0f} %. Measure again on a quiet machine."
                )
            )
    return found


def _about_the_timing(timings: Timings) -> list[Finding]:
    found = []
    cost, share = timings.sampling, timings.outside_share
    if cost is not None and cost.core_share > SAMPLING_SHARE:
        found.append(
            _note(
                f"Reading the sensors took {100 * cost.core_share:.1f} % of a core, which the "
                "runtime could have used."
            )
        )
    if share is not None and share > OUTSIDE_RUNTIME_SHARE:
        found.append(
            _note(f"{100 * share:.1f} % of an image's time was spent outside the runtime's calls.")
        )
    return found


def _about_a_sustained_run(sustained: Sustained) -> list[Finding]:
    judgement, found = sustained.judgement, []
    if judgement.verdict == "throttled":
        found.append(
            _warning("The device throttled: count on the rate at the end, not on the first images.")
        )
    elif judgement.verdict == "slowed":
        found.append(
            _warning(
                "Steps became slower and no sensor says why: it can be heat or another program. "
                "Measure again on a quiet, cool device."
            )
        )
    elif judgement.verdict == "held_back":
        pass  # `Analysis.held_back` says it, of all runs together
    elif judgement.verdict == "flagged":
        found.append(_note("A sensor said that the device held back, though steps took no longer."))
    elif judgement.verdict == "unknown":
        found.append(
            _warning(
                f"Whether it throttles cannot be said: {judgement.steps} steps, and "
                f"{MINIMUM_STEPS} over {MINIMUM_S:.0f} s are the least. Measure for longer."
            )
        )
    if judgement.start_images_per_minute is None:
        found.append(
            _note(
                "Too few images for a rate of the start and one of the end: each takes three "
                "images and a minute."
            )
        )
    if judgement.ignored_steps:
        found.append(
            _warning(
                f"{judgement.ignored_steps} steps have times that no clock gives, and were left "
                "out."
            )
        )
    return found


def _about_what_is_missing(measurement: Measurement, *, is_timed: bool) -> list[Finding]:
    found = []
    steady = measurement.of_kind("steady")
    count = sum(len(steady_images(run)) for run in steady)
    if measurement.interrupted is not None:
        found.append(
            _warning(
                f"INTERRUPTED ({measurement.interrupted}): the figures are of what was whole by "
                "then."
            )
        )
    if measurement.quick:
        found.append(_warning("Measured with --quick: too few images and restarts to compare."))
    is_sustained = not steady and bool(measurement.of_kind("sustained"))
    counts_matter = is_timed and not is_sustained  # a sustained run has no median of images
    if counts_matter and not measurement.quick and len(steady) < INTERVAL_RESTARTS:
        found.append(
            _warning(f"{len(steady)} restarts: an interval needs {INTERVAL_RESTARTS} or more.")
        )
    if counts_matter and count < P90_COUNT:
        found.append(_note(f"{count} steady images: p90 needs {P90_COUNT}."))
    found += [
        _note(f"No cold load: the files were still in memory ({run.page_cache.how}).")
        for run in measurement.of_kind("cold")
        if run.page_cache is not None and not run.page_cache.is_cold
    ]
    if not measurement.of_kind("memory"):
        found.append(_note("Memory was not measured."))
    return found


def _about_the_unseen(measurement: Measurement) -> list[Finding]:
    found = []
    if measurement.unseen:
        found.append(_note(f"Not seen on this device: {', '.join(measurement.unseen)}."))
    images = timed_images(measurement)
    phases = {phase.name for image in images for phase in image.phases}
    if measurement.workload.prompt is not None and images and "text_encoder" not in phases:
        found.append(
            _note("The timed images use the text of the first one again: it is not in their time.")
        )
    return found


def _note(text: str) -> Finding:
    return Finding(weight="note", text=text)


def _warning(text: str) -> Finding:
    return Finding(weight="warning", text=text)
