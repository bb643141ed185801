"""The energy of an image, from power and energy sensors, each on its own.

A power sensor (`power_w.*`) is integrated by the trapezoid rule over its readings; a counter
(`energy_j.*`) is differenced. Both are cut at the borders of the images, on the straight line
between two readings. Rails are never added up: some contain each other.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from edgegen.core.measurement import ImageSample, Measurement, Run, RunKind
from edgegen.statistics.series import steady_images

LEAST_READINGS = 5
"""Fewer readings over the steady images of a process say nothing of them."""

LONGEST_GAP_S = 5.0
"""An image during which a sensor was silent for longer is left out."""

Method = Literal["integrated power", "counter"]

_KINDS: tuple[RunKind, ...] = ("steady", "sustained")

_WHOLES = (
    # A battery feeds the device. The input rail of a Jetson module feeds the module's other rails,
    # and not the carrier board's (energymon's JetsonPowerRails.md lists both). The Pi's sum is
    # made of its rails. powermetrics' combined power and RAPL's package contain their parts, but
    # not the memory's (dram); psys is the platform.
    (r"battery", r".*"),
    (r"VDD_IN", r"VDD_((CPU|GPU|SOC)(_GPU)?(_CV)?|SYS_(CPU|GPU|SOC|DDR)|4V0_WIFI)"),
    (r"POM_5V_IN", r"POM_5V_(CPU|GPU)"),
    (r"pmic_rails", r"pmic\..*"),
    (r"combined", r"cpu|gpu|ane"),
    (r"psys", r"package-.*"),
    (r"(package-\d+)", r"\1\.(core|uncore)"),
)
"""Names of sensors, without their unit, and the names of what each of them contains."""

_DEVICES = ("battery", "VDD_IN", "POM_5V_IN", "pmic_rails", "psys")
"""Sensors that see a device, or a module as it is sold. A processor's (RAPL's package,
powermetrics' combined power) or a GPU's misses at least the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEnergy:
    """The energy of a steady image, as one sensor saw it.

    `restarts_j` are joules an image, one value a process; `image_j` is that of all images
    together. `images` were counted, on `readings` of the sensor. `idle_w` was subtracted; where it
    is None, nothing was: the figure holds what the device takes at rest. `within` names the
    sensors that were read too and contain this one: add nothing up that is within another.
    """

    sensor: str
    method: Method
    image_j: float
    restarts_j: tuple[float, ...]
    images: int
    readings: int
    idle_w: float | None = None
    within: tuple[str, ...] = ()


def image_energies(
    measurement: Measurement, idle_w: Mapping[str, float] | None = None
) -> tuple[ImageEnergy, ...]:
    """Return what each sensor saw of a steady image; empty where nothing tells it.

    `idle_w` is the power at rest, by the name of the sensor, where somebody measured it. Of a
    sustained run, every image after the warm-up counts.
    """
    runs = [run for kind in _KINDS for run in measurement.of_kind(kind)]
    names = sorted({name for run in runs for sample in run.sensors for name in sample.values})
    found: dict[str, ImageEnergy] = {}
    for name in names:
        method = _method(name)
        if method is not None:
            energy = _image_energy(name, method, runs, (idle_w or {}).get(name))
            if energy is not None:
                found[name] = energy
    return tuple(
        replace(energy, within=tuple(other for other in found if contains(other, name)))
        for name, energy in found.items()
    )


def whole(energies: Sequence[ImageEnergy]) -> ImageEnergy | None:
    """Return that of the device; None where no sensor sees all of it.

    It has to be one of the sensors that are known to, and no other stands beside it: rails of an
    AGX Orin, a processor's package, or a GPU are parts, though nothing else was read.
    """
    tops = [energy for energy in energies if not energy.within]
    if len(tops) != 1 or tops[0].sensor.partition(".")[2] not in _DEVICES:
        return None
    return tops[0]


def contains(outer: str, inner: str) -> bool:
    """Return whether one sensor's power is known to be part of another's."""
    outer_name, inner_name = (name.partition(".")[2] for name in (outer, inner))
    if outer_name == inner_name:
        return False
    for container, content in _WHOLES:
        match = re.fullmatch(container, outer_name)
        if match and re.fullmatch(match.expand(content), inner_name):
            return True
    return False


def _method(name: str) -> Method | None:
    quantity = name.partition(".")[0]
    methods: Mapping[str, Method] = {"power_w": "integrated power", "energy_j": "counter"}
    return methods.get(quantity)


def _image_energy(
    name: str, method: Method, runs: Iterable[Run], idle_w: float | None
) -> ImageEnergy | None:
    joules: list[float] = []
    counts: list[int] = []
    readings = 0
    for run in runs:
        curve = _Curve(run, name, method)
        images = [image for image in steady_images(run) if curve.covers(image)]
        used = curve.readings_during(images)
        if used >= LEAST_READINGS:
            joules.append(sum(curve.joules(image) - _idle_j(image, idle_w) for image in images))
            counts.append(len(images))
            readings += used
    if not counts:
        return None
    return ImageEnergy(
        sensor=name,
        method=method,
        image_j=sum(joules) / sum(counts),
        restarts_j=tuple(total / count for total, count in zip(joules, counts, strict=True)),
        images=sum(counts),
        readings=readings,
        idle_w=idle_w,
    )


def _idle_j(image: ImageSample, idle_w: float | None) -> float:
    return 0.0 if idle_w is None else idle_w * image.latency_s


class _Curve:
    """Joules that one sensor has seen since its first reading, over the time of a run."""

    def __init__(self, run: Run, name: str, method: Method) -> None:
        readings = [
            (sample.time_s, value)
            for sample in sorted(run.sensors, key=lambda sample: sample.time_s)
            if (value := sample.values.get(name)) is not None
        ]
        self._times = [time for time, _ in readings]
        self._powers = [value for _, value in readings] if method != "counter" else None
        if self._powers is None:
            self._joules = [value - readings[0][1] for _, value in readings]
        else:
            self._joules = [0.0] if readings else []
            for (t0, p0), (t1, p1) in pairwise(readings):
                self._joules.append(self._joules[-1] + (t1 - t0) * (p0 + p1) / 2)

    def covers(self, image: ImageSample) -> bool:
        """Return whether readings reach from before an image to after it, without a long gap."""
        before = bisect_right(self._times, image.start_s) - 1
        after = bisect_left(self._times, image.end_s)
        if before < 0 or after == len(self._times):
            return False
        return all(t1 - t0 <= LONGEST_GAP_S for t0, t1 in pairwise(self._times[before : after + 1]))

    def readings_during(self, images: Sequence[ImageSample]) -> int:
        return sum(
            bisect_left(self._times, image.end_s) - bisect_left(self._times, image.start_s)
            for image in images
        )

    def joules(self, image: ImageSample) -> float:
        """Return the energy of an image that the readings cover."""
        return self._at(image.end_s) - self._at(image.start_s)

    def _at(self, time_s: float) -> float:
        i = min(bisect_right(self._times, time_s) - 1, len(self._times) - 1)
        if i + 1 == len(self._times):
            return self._joules[i]
        width_s = self._times[i + 1] - self._times[i]
        share = (time_s - self._times[i]) / width_s
        if self._powers is None:
            return self._joules[i] + share * (self._joules[i + 1] - self._joules[i])
        start_w = self._powers[i]
        end_w = start_w + share * (self._powers[i + 1] - start_w)
        return self._joules[i] + share * width_s * (start_w + end_w) / 2
