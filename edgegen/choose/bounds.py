"""What is known of a candidate's figures before they are measured: bounds, each with its reason.

A prediction's own bounds come first. What was measured of other candidates narrows them:

- a package has one size, whatever steps it draws in;
- the latency of other steps is that of the measured ones, and so many steps more or less;
- the memory does not depend on the steps;
- a package draws hardly better than its model does in torch at the same steps.

The last one is no law: `QUALITY_SLACK` says by how much a package may be better, and
docs/decisions/0054 what was measured of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgegen.choose.problem import Candidate, Effort, FloatModel, Problem
from edgegen.core.figures import FIGURES, UNKNOWN, Figure, predicted_around

LATENCY_SLACK = 0.35
"""A latency that is worked out from other steps of the same package may be off by this share."""

MEMORY_SLACK = 0.12
"""The same of memory: 10 % is the most that two measurements of a package were apart."""

QUALITY_SLACK: Mapping[str, float] = {"right": 0.10, "psnr": 1.0, "ssim": 0.02}
"""By how much a package may be better than its model in torch at the same steps."""

EQUAL_ABOVE = {"psnr": 45.0, "ssim": 0.995}
"""From here on pictures of the model at its steps are those of the reference, and bound nothing."""


@dataclass(kw_only=True)
class Knowledge:
    """What was found out so far, by package and by the place of a candidate.

    `glimpsed` are bounds of measurements that did not decide; `efforts` are the
    last ones. `steps` is the time of one step.
    """

    sizes: dict[str, Figure] = field(default_factory=dict)
    failed_packages: dict[str, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    evaluated: dict[int, Mapping[str, Figure]] = field(default_factory=dict)
    measured: dict[int, Mapping[str, Figure]] = field(default_factory=dict)
    glimpsed: dict[int, Mapping[str, Figure]] = field(default_factory=dict)
    efforts: dict[int, Effort] = field(default_factory=dict)
    steps: dict[int, Figure] = field(default_factory=dict)
    float_models: dict[FloatModel, Mapping[str, Figure]] = field(default_factory=dict)


def bounds_of(
    place: int, problem: Problem, knowledge: Knowledge, siblings: Sequence[int]
) -> dict[str, Figure]:
    """Return a candidate's figures: measured where they were, else the narrowest bounds.

    `siblings` are the places of those that draw with the same package.
    """
    candidate = problem.candidates[place]
    figures = dict(candidate.known)
    size = knowledge.sizes.get(candidate.package)
    if size is not None:
        figures["size"] = size
    for name, bound in _quality_bounds(candidate, knowledge).items():
        figures[name] = _narrower(figures.get(name, UNKNOWN), bound)
    for name, bound in _sibling_bounds(place, problem, knowledge, siblings).items():
        figures[name] = _narrower(figures.get(name, UNKNOWN), bound)
    for name, figure in knowledge.glimpsed.get(place, {}).items():
        figures[name] = _narrower(figures.get(name, UNKNOWN), figure)
    figures.update(knowledge.evaluated.get(place, {}))
    figures.update(knowledge.measured.get(place, {}))
    return figures


def _quality_bounds(candidate: Candidate, knowledge: Knowledge) -> dict[str, Figure]:
    """Return upper bounds of the quality, from the model itself at the same steps."""
    found = {}
    for name, figure in knowledge.float_models.get(candidate.float_model, {}).items():
        if figure.value is None or figure.value >= EQUAL_ABOVE.get(name, float("inf")):
            continue
        # A limit is held against the lower end of the package's interval. That of a share follows
        # from the share; that of a mean may be narrower than the model's.
        held = figure.value if FIGURES[name].paired or figure.low is None else figure.low
        high = held + QUALITY_SLACK[name]
        if FIGURES[name].unit == "share":
            high = min(high, 1.0)
        found[name] = Figure(
            value=min(figure.value, high),
            low=0.0,
            high=high,
            origin="predicted",
            source=f"at most, by the model itself in torch at {candidate.way.steps} steps",
        )
    return found


def _sibling_bounds(
    place: int, problem: Problem, knowledge: Knowledge, siblings: Sequence[int]
) -> dict[str, Figure]:
    """Return bounds from a measurement of the same package in other steps."""
    candidate = problem.candidates[place]
    measured_ones = [
        (abs(problem.candidates[other].way.steps - candidate.way.steps), other)
        for other in siblings
        if other != place
        and (other in knowledge.measured or other in knowledge.glimpsed)
        and problem.candidates[other].pixels == candidate.pixels
        and problem.candidates[other].way.guidance_stop == candidate.way.guidance_stop
        and problem.candidates[other].way.cache_interval == candidate.way.cache_interval
    ]
    if not measured_ones:
        return {}
    near = min(measured_ones)[1]
    measured = knowledge.measured.get(near) or knowledge.glimpsed[near]
    step = knowledge.steps.get(near, UNKNOWN)
    steps = problem.candidates[near].way.steps
    source = f"measured at {steps} steps"
    found = {}
    latency = measured.get("latency", UNKNOWN)
    if latency.value is not None and step.value is not None:
        further = _further(latency, step, candidate.way.steps - steps)
        if further is not None:
            found["latency"] = replace(further, source=source)
    memory = measured.get("memory", UNKNOWN)
    if memory.value is not None:
        low = memory.value if memory.low is None else memory.low
        high = memory.value if memory.high is None else memory.high
        found["memory"] = predicted_around(low, memory.value, high, MEMORY_SLACK, source)
    return found


def _further(latency: Figure, step: Figure, more: int) -> Figure | None:
    """Return a latency with so many steps more, or less; None where nothing would be left."""
    assert latency.value is not None
    assert step.value is not None
    slow, fast = step.high or step.value, step.low or step.value
    if more < 0:
        slow, fast = fast, slow
    value = latency.value + more * step.value
    low = (latency.low or latency.value) + more * fast
    if low <= 0:
        return None
    return Figure(
        value=value,
        low=low * (1 - LATENCY_SLACK),
        high=((latency.high or latency.value) + more * slow) * (1 + LATENCY_SLACK),
        origin="predicted",
    )


def _narrower(a: Figure, b: Figure) -> Figure:
    """Return two bounds of one figure as one; what was measured elsewhere is kept as it is."""
    if a.value is None or b.value is None:
        return b if a.value is None else a
    if a.origin == "measured elsewhere":
        return a
    low = b.low if a.low is None else a.low if b.low is None else max(a.low, b.low)
    high = b.high if a.high is None else a.high if b.high is None else min(a.high, b.high)
    if low is not None and high is not None and low > high:  # the two disagree: the later is right
        return b
    return replace(b, low=low, high=high)
