"""What the times, rates and energies of a measurement show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.measurement import Measurement
from edgegen.statistics.energy import ImageEnergy, image_energies
from edgegen.statistics.series import (
    PhaseShare,
    Series,
    SeriesName,
    all_series,
    outside_share,
    phase_shares,
)
from edgegen.statistics.sustained import SamplingCost, Sustained, sampling_cost, sustained_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All that depends on the clock or on a power sensor.

    `outside_share` is the share of an image's time that was spent outside the runtime's calls,
    `sampling` what reading the sensors took; both are None where no run tells.
    """

    series: Mapping[SeriesName, Series]
    phases: tuple[PhaseShare, ...]
    sustained: tuple[Sustained, ...]
    energies: tuple[ImageEnergy, ...]
    outside_share: float | None
    sampling: SamplingCost | None


def timings_of(measurement: Measurement) -> Timings | None:
    """Return the timings; None for an emulated processor, whose times mean nothing.

    Intervals take 1,000 resamples a series, and the search for slowdowns can take seconds.
    """
    if measurement.environment.emulated:
        return None
    return Timings(
        series=all_series(measurement),
        phases=phase_shares(measurement),
        sustained=sustained_runs(measurement),
        energies=image_energies(measurement),
        outside_share=outside_share(measurement),
        sampling=sampling_cost(measurement),
    )
