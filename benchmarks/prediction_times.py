"""Holds predicted latencies against measured ones, and finds the widths that they need.

    python benchmarks/prediction_times.py FOLDER [--model NAME …] [--package onnx:fp32 …]
        [--steps 2,6] [--images 5] [--rounds 2] [--write NAME]

Packages are built in FOLDER without parity, or found there. In each round each package draws
`--images` images in each of the step counts, in a new process, as `edgegen bench --quick` does.

Every measurement is then predicted from every other one by itself, so that there are thousands of
pairs, and from all others of one origin together, as `edgegen inspect` predicts. The width that a
pair needs is how far the measured median is off, less what the difference in arithmetic allows. The
pairs of one package and step count in different rounds are scaled by nothing: they show what the
machine alone does. `--from NAME` measures nothing and judges results/NAME.json by today's code.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import Machine, read_machine
from benchmarks.predictions import MODELS, RESULTS, packages_of
from edgegen.core.codec import dump_json, load_json
from edgegen.core.measurement import ImageSample, Measurement
from edgegen.measure.plan import BenchSettings
from edgegen.measure.plan import plan as plan_bench
from edgegen.measure.session import measure
from edgegen.predict.latency import WIDTHS, Known, LatencyPrediction, Wanted, predict_latency
from edgegen.predict.traces import read_traces
from edgegen.predict.work import Work, work_of

PACKAGES = (
    *("onnx:fp32", "onnx:fp16-storage", "openvino:fp16-storage", "openvino:int8"),
    *("tflite:fp16-storage", "tflite:int8-dynamic"),
)
COVERED = 0.95
"""The share of pairs that a width is to cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What a package's images took in one round; `load_average` is that of the minute before."""

    model: str
    round: int
    load_average: float
    measurement: Measurement
    work: Work

    @property
    def median_s(self) -> float:
        """Return the median of the steady images."""
        return statistics.median(image.latency_s for image in _steady(self.measurement))

    @property
    def package(self) -> tuple[str, str, str]:
        """Return which package it is of."""
        return (self.model, self.measurement.package.target, self.measurement.package.recipe)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All measurements, and the machine that they were made on."""

    machine: Machine
    timed: tuple[Timed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A measured median against a prediction: `width` is the factor that would have held it."""

    origin: str
    inside: bool
    p90_inside: bool
    width: float


def timed_packages(options: argparse.Namespace) -> Iterator[Timed]:
    """Build all packages, then measure each in turn, as many rounds as are wanted."""
    wanted = options.packages or PACKAGES
    built = [
        each
        for model in options.models or MODELS
        for name, _, source in [model.partition("=")]
        for each in packages_of(name, source or name, options.folder, wanted, options.size)
    ]
    for round_ in range(options.rounds):
        for each in built:
            traces = read_traces(each.candidate, each.facts)
            for steps in options.steps:
                load_average = os.getloadavg()[0]
                settings = BenchSettings(images=options.images, quick=True, steps=steps)
                measurement = measure(plan_bench(each.path, settings))
                yield Timed(
                    model=each.name,
                    round=round_,
                    load_average=load_average,
                    measurement=_timing_of(measurement),
                    work=work_of(each.candidate, traces, steps=steps),
                )


def _timing_of(measurement: Measurement) -> Measurement:
    """Return the steady images and their phases: nothing else is predicted from."""
    runs = tuple(
        replace(run, sensors=(), images=tuple(replace(image, steps=()) for image in run.images))
        for run in measurement.of_kind("steady")
    )
    return replace(measurement, runs=runs)


def pairs(timed: Sequence[Timed]) -> Iterator[Case]:
    """Yield each measurement as predicted from each other one by itself."""
    for it in timed:
        for other in timed:
            if other is not it:
                yield from _case(it, [other])


def together(timed: Sequence[Timed]) -> Iterator[Case]:
    """Yield each measurement as predicted from all others of one origin, of other steps."""
    for it in timed:
        found: dict[str, list[Timed]] = {}
        for other in timed:
            origin = _origin(it, other)
            if origin != "again":
                found.setdefault(origin, []).append(other)
        for others in found.values():
            yield from _case(it, others)


def _case(it: Timed, others: Sequence[Timed]) -> Iterator[Case]:
    package = it.measurement.package
    wanted = Wanted(
        target=package.target,
        recipe=package.recipe,
        work=it.work,
        weights_sha256=package.weights_sha256,
    )
    known = [Known(measurement=other.measurement, work=other.work) for other in others]
    found = predict_latency(wanted, known)
    if found is None:  # a phase that none of the others has
        return
    latencies = sorted(image.latency_s for image in _steady(it.measurement))
    p90_s = latencies[math.ceil(0.9 * len(latencies)) - 1]
    yield Case(
        origin=_origin(it, others[0]),
        inside=found.low_s <= it.median_s <= found.high_s,
        p90_inside=found.low_s <= p90_s <= found.high_s,
        width=_width(it.median_s, found),
    )


def _width(median_s: float, found: LatencyPrediction) -> float:
    """Return the width of the origin with which the interval would just hold a median.

    What the difference in arithmetic adds to the width is left as it is.
    """
    off = max(median_s / found.median_s, found.median_s / median_s)
    return max(1.0, WIDTHS[found.from_] * off / (found.median_s / found.low_s))


def _origin(it: Timed, other: Timed) -> str:
    if it.package == other.package:
        return "again" if it.work.calls == other.work.calls else "same package"
    return "same format" if it.package[1:] == other.package[1:] else "same device"


def _steady(measurement: Measurement) -> Iterator[ImageSample]:
    for run in measurement.of_kind("steady"):
        yield from (image for image in run.images if not image.warmup)


def markdown(results: Results) -> str:
    """Return what was measured, how many medians are inside, and the widths that they need."""
    loads = [it.load_average for it in results.timed]
    lines = [
        "# Predicted times against measured",
        "",
        f"{results.machine.name()}. Made by `benchmarks/prediction_times.py`: "
        f"{len(results.timed)} measurements of {len({it.package for it in results.timed})} "
        f"packages. The load average was {min(loads):.1f} to {max(loads):.1f}, "
        f"{statistics.median(loads):.1f} in the median. A width is by how much a median may be "
        "off, either way.",
        "",
        "| from | cases | medians inside | p90 inside | width | half need | 90 % | 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for title, cases in (
        ("one measurement", list(pairs(results.timed))),
        ("all of that origin together", list(together(results.timed))),
    ):
        for origin in ("again", *WIDTHS):
            some = [it for it in cases if it.origin == origin]
            if some:
                name = "the same images, another round" if origin == "again" else origin
                width = WIDTHS["same package" if origin == "again" else origin]
                cells = [
                    f"{name}: {title}",
                    str(len(some)),
                    f"{statistics.mean(it.inside for it in some):.0%}",
                    f"{statistics.mean(it.p90_inside for it in some):.0%}",
                    f"× {width:.2f}",
                    *(
                        f"× {_quantile([it.width for it in some], q):.2f}"
                        for q in (0.5, 0.9, COVERED)
                    ),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| model | package | steps | medians, in the order of rounds |",
        "|---|---|---|---|",
    ]
    rows: dict[tuple[str, str, str, int], list[str]] = {}
    for it in results.timed:
        rows.setdefault((*it.package, it.work.calls), []).append(f"{it.median_s * 1e3:,.0f} ms")
    for (model, target, recipe, steps), medians in rows.items():
        lines.append(f"| {model} | {target} `{recipe}` | {steps} | {', '.join(medians)} |")
    return "\n".join(lines) + "\n"


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def main() -> None:
    """Print the tables, and write them to results/ where a name is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where packages are, or are built")
    parser.add_argument("--model", action="append", dest="models", metavar="NAME[=FOLDER]")
    parser.add_argument("--package", action="append", dest="packages", metavar="TARGET:RECIPE")
    parser.add_argument("--size", type=int, help="side of the images; default: the model's own")
    parser.add_argument("--steps", default="2,6", help="comma-separated; default: 2,6")
    parser.add_argument("--images", type=int, default=5, help="in each round; default: 5")
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    parser.add_argument("--from", dest="before", metavar="NAME", help="judge results/NAME.json")
    parser.add_argument("--write", metavar="NAME", help="write results/NAME.json and .md")
    options = parser.parse_args()
    options.steps = [int(steps) for steps in options.steps.split(",")]
    if options.before:
        before = load_json(Results, (RESULTS / options.before).with_suffix(".json"))
        timed = (replace(it, measurement=_timing_of(it.measurement)) for it in before.timed)
        results = replace(before, timed=tuple(timed))
    else:
        results = Results(machine=read_machine(), timed=())
        for it in timed_packages(options):
            print(*it.package, it.work.calls, f"{it.median_s:.3f} s, load {it.load_average:.1f}")
            results = replace(results, timed=(*results.timed, it))
            _write(options.write, results)  # what there is, if it is interrupted
    print(markdown(results))
    _write(options.write, results)


def _write(name: str | None, results: Results) -> None:
    if name is not None:
        place = RESULTS / name
        place.with_suffix(".json").write_text(dump_json(results), encoding="utf-8")
        place.with_suffix(".md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
