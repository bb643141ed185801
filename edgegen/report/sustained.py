"""What a sustained run shows, in a sentence and in a table."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.measurement import StartTemperature
from edgegen.core.units import MISSING, format_joules, format_latency, format_moment, three_digits
from edgegen.report.table import Table
from edgegen.report.timeline import clocks, event_text, temperatures, under_load
from edgegen.statistics.changepoints import MINIMUM_RATIO, MINIMUM_STEPS, Change
from edgegen.statistics.energy import ImageEnergy, contains
from edgegen.statistics.sensor_events import SensorEvent
from edgegen.statistics.sustained import Sustained, outermost, part_latencies
from edgegen.statistics.throttling import MINIMUM_S, Verdict

VERDICTS: dict[Verdict, str] = {
    "steady": "Steady",
    "throttled": "Throttled",
    "held_back": "Held back all the time",
    "slowed": "Slowed, cause unknown",
    "flagged": "Flagged, no effect",
    "unknown": "Too short to say",
}

_MOST_CAUSES = 3


def verdict_sentence(sustained: Sustained) -> str:
    """Return what a sustained run shows, in one or two sentences."""
    judgement = sustained.judgement
    change = judgement.slowdown
    text = f"{VERDICTS[judgement.verdict]}: "
    if judgement.verdict == "unknown":
        text += (
            f"{judgement.steps} steps in {format_moment(sustained.duration_s)}; it takes at least "
            f"{MINIMUM_STEPS} over {MINIMUM_S:.0f} s."
        )
    elif judgement.verdict == "held_back":
        text += _held_back(sustained)
    elif change is not None:
        text += f"{_slowdown(change, sustained.zero_s)}; {_causes(sustained)}."
        if judgement.has_recovered:
            text += " Later they recovered, by half of that or more."
    elif judgement.verdict == "flagged":
        text += f"{_listed(judgement.evidence)}, but steps took no longer."
    else:
        text += (
            f"in {format_moment(sustained.duration_s)} no lasting slowdown by "
            f"{100 * (MINIMUM_RATIO - 1):.0f} % or more was found, and {_silence(sustained)}."
        )
    start, end = judgement.start_images_per_minute, judgement.end_images_per_minute
    if start is not None and end is not None:
        text += f" {rate(start)} images a minute at the start, {rate(end)} at the end."
    return text


def sustained_table(
    sustained: Sustained,
    start: StartTemperature | None,
    energies: Sequence[ImageEnergy] = (),
) -> Table:
    """Return the figures of a sustained run, each with what it is of."""
    judgement = sustained.judgement
    first, last = judgement.start_images_per_minute, judgement.end_images_per_minute
    lasted = f"in {format_moment(sustained.duration_s)}, warm-up aside"
    rows = [("Images", str(len(sustained.images)), lasted)]
    if first is not None and last is not None:
        rows += [
            ("Images a minute at the start", rate(first), "first fifth, a minute at least"),
            ("Images a minute at the end", rate(last), "last fifth, a minute at least"),
            ("End / start", f"{last / first:.2f}" if first else MISSING, ""),
        ]
    else:
        rows.append(
            ("Images a minute", rate(_mean_rate(sustained)), "all of them: too few to part")
        )
    rows += _latencies(sustained)
    change = judgement.slowdown
    if change is not None:
        rows.append(
            ("Slowdown began", onset(change, sustained.zero_s), _about_the_onset(sustained))
        )
        ratio, low, high = ratio_texts(change.ratio, change.ratio_low, change.ratio_high)
        rows.append(("Steps took longer", f"× {ratio}", f"{low} … {high} (95 %)"))
    rows += [
        (
            "Evidence" if event.is_cause else "Also said",
            format_moment(event.time_s - sustained.zero_s),
            event_text(event) + ("" if event.before is not None else ", from the first reading on"),
        )
        for event in _told(judgement.evidence)
    ]
    rows += [
        ("Energy an image", format_joules(energy.image_j), energy_source(energy, energies))
        for energy in outermost(energies)
    ]
    rows += [_start_row(start), *_extremes(sustained)]
    return Table(title="Sustained", columns=("", "figure", "of"), rows=tuple(rows), words=("of",))


def _latencies(sustained: Sustained) -> list[tuple[str, str, str]]:
    """Return what an image and a step take, at the start and at the end."""
    rows = []
    for each in part_latencies(sustained):
        where = "" if each.part == "whole" else f" at the {each.part}"
        rows.append((f"Image{where}", format_latency(each.image_s), f"median of {each.images}"))
        if each.step_s is not None:
            rows.append((f"Step{where}", format_latency(each.step_s), f"median of {each.steps}"))
    return rows


def energy_table(energies: Sequence[ImageEnergy]) -> Table:
    rows = tuple(
        (
            _name(energy.sensor),
            format_joules(energy.image_j),
            _by_process(energy),
            str(energy.images),
            energy.method,
            ", ".join(map(_name, energy.within)) or MISSING,
        )
        for energy in sorted(energies, key=lambda energy: (len(energy.within), -energy.image_j))
    )
    return Table(
        title="Energy of an image",
        columns=("", "an image", "by process", "images", "from", "part of"),
        rows=rows,
        words=("from", "part of"),
    )


def energy_source(energy: ImageEnergy, energies: Sequence[ImageEnergy]) -> str:
    """Write which sensor it was, what it contains of the others, and what was left in it."""
    inside = [_name(other.sensor) for other in energies if contains(energy.sensor, other.sensor)]
    text = f"{_name(energy.sensor)}, {energy.method}"
    if inside:
        listed = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if inside[3:] else "")
        text += f"; contains {listed}"
    return text + ("; power at rest included" if energy.idle_w is None else "")


def _held_back(sustained: Sustained) -> str:
    held, change = sustained.judgement.held_back, sustained.judgement.slowdown
    text = (
        f"in {held.held} of {held.readings} readings ({', '.join(held.words)}). This is the rate "
        "of a throttled device: there was no step at full speed to compare with."
    )
    if change is not None:
        text += f" Moreover, {_slowdown(change, sustained.zero_s)}."
    return text


def onset(change: Change, zero_s: float) -> str:
    """Write when a slowdown began, from the start of the first image on."""
    return format_moment(change.onset_s - zero_s)


def rate(images_per_minute: float | None) -> str:
    """Write images a minute; a dash for None."""
    return MISSING if images_per_minute is None else three_digits(images_per_minute)


def ratio_texts(*ratios: float) -> tuple[str, ...]:
    """Write ratios with two decimals, or with three where two would make them look equal."""
    texts = tuple(f"{ratio:.2f}" for ratio in ratios)
    return texts if len(set(texts)) > 1 else tuple(f"{ratio:.3f}" for ratio in ratios)


def _mean_rate(sustained: Sustained) -> float | None:
    spent_s = sustained.duration_s - sum(image.load_s for image in sustained.images)
    return 60 * len(sustained.images) / spent_s if spent_s > 0 else None


def highest_temperature(sustained: Sustained) -> tuple[str, float] | None:
    """Return the name of the hottest sensor and the highest value that it had."""
    lines = temperatures(sustained)
    return (lines[0].name, lines[0].highest) if lines else None


def _slowdown(change: Change, zero_s: float) -> str:
    began = f"{onset(change, zero_s)} ({_onset_interval(change, zero_s)})"
    middle, low, high = ratio_texts(change.ratio, change.ratio_low, change.ratio_high)
    ratio = f"{middle} times as long ({low} … {high})"
    if change.shape == "step":
        return f"after {began} steps took {ratio}"
    return (
        f"from {began} on steps grew slower, and from {format_moment(change.end_s - zero_s)} on "
        f"took {ratio}"
    )


def _onset_interval(change: Change, zero_s: float) -> str:
    low_s, high_s = change.onset_low_s - zero_s, change.onset_high_s - zero_s
    return f"{format_moment(low_s)} … {format_moment(high_s)}"


def _about_the_onset(sustained: Sustained) -> str:
    change = sustained.judgement.slowdown
    assert change is not None
    text = f"{_onset_interval(change, sustained.zero_s)} (95 %)"
    if change.shape == "ramp":
        text += f"; complete after {format_moment(change.end_s - sustained.zero_s)}"
    return text


def _causes(sustained: Sustained) -> str:
    causes = sustained.judgement.causes
    if causes:
        return _listed(causes)
    if sustained.tells_throttling:
        return "no sensor says why"
    return "no sensor here can report throttling"


def _silence(sustained: Sustained) -> str:
    if sustained.tells_throttling:
        return "no sensor said that the device held back"
    return "no sensor here can report throttling"


def _told(events: Sequence[SensorEvent]) -> list[SensorEvent]:
    """Return the first event of each sensor, causes first."""
    first: dict[str, SensorEvent] = {}
    for event in sorted(events, key=lambda event: (not event.is_cause, event.time_s)):
        first.setdefault(event.sensor, event)
    return list(first.values())


def _listed(events: Sequence[SensorEvent]) -> str:
    texts = [event_text(event) for event in _told(events)]
    more = f" and {len(texts) - _MOST_CAUSES} more" if len(texts) > _MOST_CAUSES else ""
    return ", ".join(texts[:_MOST_CAUSES]) + more


def _start_row(start: StartTemperature | None) -> tuple[str, str, str]:
    if start is None:
        return ("Start temperature", MISSING, "nothing was awaited")
    wanted = "until it no longer fell" if start.wanted_c is None else f"for {start.wanted_c:.1f} °C"
    waited = f"{_name(start.sensor)}; waited {format_moment(start.waited_s)} {wanted}"
    return (
        "Start temperature",
        f"{start.last_c:.1f} °C",
        waited + ("" if start.reached else ": NOT reached"),
    )


def _extremes(sustained: Sustained) -> list[tuple[str, str, str]]:
    rows = []
    hottest = highest_temperature(sustained)
    if hottest is not None:
        rows.append(("Highest temperature", f"{hottest[1]:.1f} °C", hottest[0]))
    for line in clocks(sustained)[:1]:
        values = under_load(sustained, line)
        if values:
            highest = f"{line.name}; highest {max(values):.0f} MHz"
            rows.append(("Lowest clock under load", f"{min(values):.0f} MHz", highest))
    return rows


def _by_process(energy: ImageEnergy) -> str:
    if len(energy.restarts_j) < 2:
        return MISSING
    return f"{format_joules(min(energy.restarts_j))} … {format_joules(max(energy.restarts_j))}"


def _name(sensor: str) -> str:
    return sensor.partition(".")[2] or sensor
