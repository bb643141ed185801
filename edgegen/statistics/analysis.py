"""Everything that is said of a measurement, computed once: reports take only this."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.measurement import Measurement
from edgegen.statistics.findings import Finding, findings
from edgegen.statistics.held_back import held_back_sentence
from edgegen.statistics.timings import Timings, timings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A measurement and what it shows.

    `timings` is None where times mean nothing, so that none can be shown by mistake. `held_back`
    says that the device was held back, and what to do; it comes before any figure and is not
    repeated in `findings`.
    """

    measurement: Measurement
    timings: Timings | None
    held_back: str | None
    findings: tuple[Finding, ...]


def analyse(measurement: Measurement) -> Analysis:
    """Analyse a measurement; this can take seconds, in timings_of."""
    timings = timings_of(measurement)
    return Analysis(
        measurement=measurement,
        timings=timings,
        held_back=None if timings is None else held_back_sentence(measurement),
        findings=findings(measurement, timings),
    )
