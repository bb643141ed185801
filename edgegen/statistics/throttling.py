"""Judges a sustained run: did it become slower, when, by how much, and did the device say why?

A slowdown in the steps' latencies is found first, without the sensors; then the sensors are asked
what happened within 15 s of it. Latency and a sensor together are throttling. Latency alone is a
slowdown of unknown cause, a sensor alone a flag without effect: neither is called throttling.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgegen.core.measurement import ImageSample, Run, Step
from edgegen.statistics.changepoints import (
    MINIMUM_STEPS,
    Change,
    LatencyChanges,
    find_changes,
)
from edgegen.statistics.held_back import NOT_HELD_BACK, HeldBack, held_back
from edgegen.statistics.sensor_events import SensorEvent, clock_drops, limit_events

Verdict = Literal["steady", "throttled", "held_back", "slowed", "flagged", "unknown"]

MINIMUM_S = 60.0
"""Steps over a shorter time say nothing about heat."""
RATE_S = 60.0
RATE_SHARE = 0.2
"""The first and the last part of a run: a fifth of its time, and a minute at least."""
RATE_IMAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a sustained run shows.

    - steady: no lasting slowdown by 4 % or more, and no sensor said a word.
    - throttled: a slowdown, with a flag, cooling state, counter or falling clock near its onset.
    - held_back: nearly every reading said that the device held back, so that there was nothing
      to compare with.
    - slowed: a slowdown of unknown cause.
    - flagged: a sensor said at times that the device held back, but steps took no longer.
    - unknown: too few steps, or over too short a time, to say.

    `slowdown` is the first one with evidence, or else the first one. `changes` holds all,
    recoveries too, and is None where the series was too short. Images a minute are those of the
    first and the last part of the run, None where it is too short for both. `ignored_steps` had a
    time that no clock gives. Times are those of the run.
    """

    verdict: Verdict
    held_back: HeldBack = NOT_HELD_BACK
    slowdown: Change | None = None
    evidence: tuple[SensorEvent, ...] = ()
    changes: LatencyChanges | None = None
    start_images_per_minute: float | None = None
    end_images_per_minute: float | None = None
    steps: int
    ignored_steps: int = 0

    @property
    def causes(self) -> tuple[SensorEvent, ...]:
        """Return the evidence that lies near a slowdown."""
        return tuple(event for event in self.evidence if event.is_cause)

    @property
    def has_recovered(self) -> bool:
        """Return whether a later change made up for at least half of the slowdown."""
        if self.slowdown is None or self.changes is None:
            return False
        later = [
            math.log(change.ratio)
            for change in self.changes.changes
            if change.onset_s > self.slowdown.onset_s
        ]
        lows = [sum(later[: n + 1]) for n in range(len(later))]
        return min(lows, default=0.0) <= -0.5 * math.log(self.slowdown.ratio)


def judge(run: Run) -> Judgement:
    """Judge one sustained run; warm-up images are left out."""
    images = [image for image in run.images if not image.warmup]
    given = [step for image in images for step in image.steps]
    steps = usable_steps(given)
    start_rate, end_rate = image_rates(images)
    events = limit_events(run)
    changes = _changes(steps)
    slowdowns = [] if changes is None else [c for c in changes.changes if c.is_slowdown]
    causes = {change: _causes(run, events, change) for change in slowdowns}
    explained = [change for change in slowdowns if causes[change]]
    told = {(cause.sensor, cause.time_s) for found in causes.values() for cause in found}
    others = (event for event in events if (event.sensor, event.time_s) not in told)
    evidence = {(e.sensor, e.time_s): e for found in causes.values() for e in found}
    held = held_back([run])
    verdict: Verdict
    if explained:
        verdict = "throttled"
    elif held.is_all_the_time:
        verdict = "held_back"
    elif changes is None:
        verdict = "unknown"
    elif slowdowns:
        verdict = "slowed"
    else:
        verdict = "flagged" if events else "steady"
    return Judgement(
        verdict=verdict,
        held_back=held,
        slowdown=next(iter(explained or slowdowns), None),
        evidence=tuple(
            sorted([*evidence.values(), *others], key=lambda event: (event.time_s, event.sensor))
        ),
        changes=changes,
        start_images_per_minute=start_rate,
        end_images_per_minute=end_rate,
        steps=len(steps),
        ignored_steps=len(given) - len(steps),
    )


def usable_steps(steps: Sequence[Step]) -> list[Step]:
    """Return the steps whose times a clock can give: finite, longer than 0, one after the other."""
    usable: list[Step] = []
    for step in steps:
        if not (math.isfinite(step.start_s) and math.isfinite(step.end_s)):
            continue
        if step.end_s > step.start_s and (not usable or step.end_s > usable[-1].end_s):
            usable.append(step)
    return usable


def image_rates(images: Sequence[ImageSample]) -> tuple[float | None, float | None]:
    """Return the images a minute at the start and at the end; None for both of a short run.

    Pauses between images count, loading does not.
    """
    parts = first_and_last(images)
    return (None, None) if parts is None else (_rate(parts[0]), _rate(parts[1]))


def first_and_last(
    images: Sequence[ImageSample],
) -> tuple[Sequence[ImageSample], Sequence[ImageSample]] | None:
    """Return the images of the start and those of the end; None where they would overlap.

    Whole images count, of the first and the last fifth of the time, or minute where that is longer,
    and three images at least.
    """
    if len(images) < 2 * RATE_IMAGES:
        return None
    first_s, last_s = images[0].start_s, images[-1].end_s
    part_s = max(RATE_S, RATE_SHARE * (last_s - first_s))
    first = [image for image in images if image.end_s <= first_s + part_s]
    last = [image for image in images if image.start_s >= last_s - part_s]
    at_start = images[: max(len(first), RATE_IMAGES)]
    at_end = images[-max(len(last), RATE_IMAGES) :]
    return None if len(at_start) + len(at_end) > len(images) else (at_start, at_end)


def _rate(images: Sequence[ImageSample]) -> float | None:
    spent_s = images[-1].end_s - images[0].start_s - sum(image.load_s for image in images)
    return 60 * len(images) / spent_s if spent_s > 0 else None


def _changes(steps: Sequence[Step]) -> LatencyChanges | None:
    if len(steps) < MINIMUM_STEPS or steps[-1].end_s - steps[0].start_s < MINIMUM_S:
        return None
    return find_changes(
        [step.end_s for step in steps],
        [step.end_s - step.start_s for step in steps],
        position=[step.index for step in steps],
    )


def _causes(run: Run, events: Sequence[SensorEvent], change: Change) -> list[SensorEvent]:
    low_s, high_s = change.onset_low_s, max(change.onset_high_s, change.end_s)
    near = [dataclasses.replace(e, is_cause=True) for e in events if e.is_near(low_s, high_s)]
    return [*near, *clock_drops(run, low_s, high_s, change.ratio)]
