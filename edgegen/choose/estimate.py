"""About how long a choice takes at most: right within a factor of three or so."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.choose.prepare import Prepared
from edgegen.core.figures import UNKNOWN

CONVERSION_S = 25.0
CONVERSION_BYTES_PER_S = 4e6
"""A conversion: its toolkits and torch's golden case, and what is written. Measured with the
built-in models and SD 1.5 on two cores."""

PICTURE_STEP_S = 0.05
MEASUREMENT_S = 20.0
PICTURES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What would be done if every candidate that may win were tried."""

    packages: int
    longest_s: float


def estimate(prepared: Prepared) -> Estimate:
    """Return what trying everything that may win would take; what the cache has is not counted."""
    search, problem = prepared.search, prepared.search.problem
    places = search.order()
    packages = {problem.candidates[place].package for place in places}
    total_s = 0.0
    for package in packages:
        place = next(it for it in places if problem.candidates[it].package == package)
        size = search.figures(place).get("size", UNKNOWN).value or 0.0
        total_s += CONVERSION_S + size / CONVERSION_BYTES_PER_S
    limited = {limit.figure for limit in prepared.limits}
    pictures = prepared.jobs.pictures or PICTURES
    for place in places:
        candidate = problem.candidates[place]
        step_s = PICTURE_STEP_S * max(1.0, candidate.pixels / 64**2)
        if limited & problem.evaluated:
            total_s += pictures * candidate.way.steps * step_s
        if limited & problem.measured:
            total_s += MEASUREMENT_S + 16 * candidate.way.steps * step_s
            total_s += prepared.jobs.sustained_s or 0.0
    return Estimate(packages=len(packages), longest_s=total_s)
