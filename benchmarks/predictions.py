"""Holds predictions against what is measured: bytes, the highest memory, and an image's time.

    python benchmarks/predictions.py FOLDER [--model NAME …] [--package onnx:fp32 …] [--write NAME]

Packages are built in FOLDER without parity, or found there. Each is run twice as `edgegen bench`
does its memory run, with all components loaded and with one at a time, for `--steps` steps; with
`--images 5` it is timed as well, and each time predicted from the other packages' times. The model
of another shape is a folder: `--model sd15=FOLDER`. Libraries count as far as no other process maps
them, so run it alone on the machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json
from edgegen.core.measurement import Measurement, Residency
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets
from edgegen.measure.plan import BenchSettings
from edgegen.measure.plan import plan as plan_bench
from edgegen.measure.session import measure
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.candidate import Candidate, make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.plan import plan_package
from edgegen.predict.latency import Known, LatencyPrediction, Wanted, predict_latency
from edgegen.predict.memory import predict_memory
from edgegen.predict.survey import RESIDENCIES, backend_of
from edgegen.predict.traces import read_traces
from edgegen.predict.work import Work, work_of
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.protocol import Memory
from edgegen.runner.session import RunnerSession

RESULTS = Path(__file__).parent / "results"
MODELS = ("builtin:emoji", "builtin:scenes", "builtin:scenes-4step", "builtin:scenes-4step-tiny")
CALIBRATED = "static"
"""In the names of recipes whose calibration takes minutes: they are built where `--package` names
them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How long images took, and what would have been predicted from the other packages."""

    median_s: float
    p90_s: float
    predicted: LatencyPrediction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One package: bytes, and the highest memory by residency where it could be run here."""

    model: str
    target: str
    recipe: str
    width: int
    height: int
    steps: int
    package_bytes: int
    predicted_bytes: int
    peak_bytes: dict[Residency, int]
    resident_bytes: dict[Residency, int]
    predicted_peak_bytes: dict[Residency, int]
    timed: Timed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All rows, and the machine they were measured on."""

    machine: Machine
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    name: str
    candidate: Candidate
    facts: ModelFacts
    path: Path


def packages_of(
    name: str, source: str, folder: Path, wanted: Sequence[str], size: int | None
) -> Iterable[_Built]:
    """Build what is not there yet, all packages of a model together, and yield each."""
    facts = read_facts(resolve(source))
    short = name.removeprefix("builtin:") + (f"-{size}" if size else "")
    plans = []
    found = []
    for target, recipe in (pair.split(":") for pair in wanted):
        spec = load_targets()[target]
        path = folder / short / f"{target}-{recipe}"
        candidate = make_candidate(facts, spec, load_recipe(recipe, spec), width=size, height=size)
        found.append(_Built(name=name, candidate=candidate, facts=facts, path=path))
        if not (path / "edgegen.json").is_file():
            plans.append(
                plan_package(
                    facts, target=target, destination=path, recipe=recipe, width=size, height=size
                )
            )
    if plans:
        build_all(plans, parity=False)
    yield from found


def measured_row(built: _Built, steps: int | None) -> Row:
    """Return what a package takes, predicted and measured."""
    candidate, facts = built.candidate, built.facts
    generation = candidate.spec.generation
    traces = read_traces(candidate, facts)
    size = predict(candidate, facts)
    backend = backend_of(candidate)
    files = [path for path in built.path.rglob("*") if path.is_file()]
    golden = sum(path.stat().st_size for path in files if path.parent.name == "golden")
    peaks: dict[Residency, int] = {}
    resident: dict[Residency, int] = {}
    predicted: dict[Residency, int] = {}
    for residency in RESIDENCIES:
        memory = predict_memory(candidate, facts, traces, backend=backend, residency=residency)
        predicted[residency] = memory.peak_bytes
        found = None if memory.unmeasured else peak_of(built, backend, residency, steps)
        if found is not None and found.peak_pss_bytes is not None:
            peaks[residency] = found.peak_pss_bytes
            resident[residency] = found.peak_resident_bytes or 0
    return Row(
        model=built.name,
        target=candidate.target.name,
        recipe=candidate.recipe.name,
        width=generation.width,
        height=generation.height,
        steps=steps or generation.steps,
        package_bytes=sum(path.stat().st_size for path in files) - golden,
        predicted_bytes=size.package_bytes - size.golden_bytes,
        peak_bytes=peaks,
        resident_bytes=resident,
        predicted_peak_bytes=predicted,
    )


def peak_of(built: _Built, backend: str, residency: Residency, steps: int | None) -> Memory | None:
    """Draw one image as bench's memory run does, and return what the runner saw."""
    generation = built.candidate.spec.generation
    job = GenerateJob(
        package=str(built.path.absolute()),
        request=Request(
            prompts=("a tomato",) if generation.text_length else None,
            steps=steps,
            width=generation.width,
            height=generation.height,
        ),
        residency=residency,
        backend=Backend(name=backend),
        measure_memory=True,
    )
    events = list(RunnerSession().events(job))
    return next((event for event in events if isinstance(event, Memory)), None)


def timed_rows(pairs: Sequence[tuple[_Built, Row]], images: int, steps: int | None) -> list[Row]:
    """Time each package that runs here, and predict it from all the others."""
    known: list[tuple[Known, _Built]] = []
    for built, row in pairs:
        if row.peak_bytes:
            settings = BenchSettings(images=images, quick=True, steps=steps)
            measurement = measure(plan_bench(built.path, settings))
            known.append((Known(measurement=measurement, work=_work(built, steps)), built))
    rows = []
    for built, row in pairs:
        mine = next((it for it, of in known if of is built), None)
        if mine is not None:
            row = replace(row, timed=_timed(mine, [it for it, _ in known if it is not mine]))
        rows.append(row)
    return rows


def _timed(mine: Known, others: Sequence[Known]) -> Timed:
    latencies = sorted(_latencies(mine.measurement))
    package = mine.measurement.package
    wanted = Wanted(
        target=package.target,
        recipe=package.recipe,
        work=mine.work,
        weights_sha256=package.weights_sha256,
    )
    return Timed(
        median_s=latencies[len(latencies) // 2],
        p90_s=latencies[-(-9 * len(latencies) // 10) - 1],
        predicted=predict_latency(wanted, others),
    )


def _latencies(measurement: Measurement) -> list[float]:
    return [
        image.latency_s
        for run in measurement.of_kind("steady")
        for image in run.images
        if not image.warmup
    ]


def _work(built: _Built, steps: int | None) -> Work:
    return work_of(built.candidate, read_traces(built.candidate, built.facts), steps=steps)


def markdown(results: Results) -> str:
    """Return the rows as tables, the largest errors first named."""
    lines = [
        "# Predicted against measured",
        "",
        f"{results.machine.describe()}. Made by `benchmarks/predictions.py`. Bytes are those of "
        "the package without its golden case. Memory is the highest sum of PSS, in MB, with all "
        "components loaded and with one at a time.",
        "",
        "| model | package | size | bytes | error | memory, all | error | one at a time | error |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in results.rows:
        cells = [
            row.model,
            f"{row.target} `{row.recipe}`",
            f"{row.width} × {row.height}",
            f"{row.predicted_bytes / 1e6:,.2f} of {row.package_bytes / 1e6:,.2f} MB",
            _error(row.predicted_bytes, row.package_bytes),
        ]
        for residency in RESIDENCIES:
            predicted = row.predicted_peak_bytes.get(residency)
            peak = row.peak_bytes.get(residency)
            if predicted is None or peak is None:
                cells += ["", ""]
            else:
                text = f"{predicted / 1e6:,.0f} of {peak / 1e6:,.0f}"
                cells += [text, _error(predicted, peak)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *_summary(results.rows)]
    timed = [row for row in results.rows if row.timed is not None]
    if timed:
        lines += ["", *_times(timed)]
    return "\n".join(lines) + "\n"


def _summary(rows: Sequence[Row]) -> list[str]:
    of_bytes = [abs(row.predicted_bytes / row.package_bytes - 1) for row in rows]
    of_memory = [
        abs(row.predicted_peak_bytes[residency] / peak - 1)
        for row in rows
        for residency, peak in row.peak_bytes.items()
    ]
    lines = [f"Bytes: {len(rows)} packages, the largest error {max(of_bytes):.2%}."]
    if of_memory:
        within = sum(error <= 0.15 for error in of_memory)
        lines.append(
            f"Memory: {len(of_memory)} runs, {within} within 15 %, the largest error "
            f"{max(of_memory):.1%}, the median {sorted(of_memory)[len(of_memory) // 2]:.1%}."
        )
    return lines


def _times(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| model | package | median | predicted | interval | from |",
        "|---|---|---|---|---|---|",
    ]
    inside = known = 0
    for row in rows:
        timed = row.timed
        assert timed is not None
        found = timed.predicted
        interval = from_ = "unknown"
        middle = ""
        if found is not None:
            known += 1
            inside += found.low_s <= timed.p90_s <= found.high_s
            middle = f"{found.median_s:.3f} s"
            interval, from_ = f"{found.low_s:.3f} … {found.high_s:.3f} s", found.from_
        cells = (row.model, f"{row.target} `{row.recipe}`", f"{timed.median_s:.3f} s")
        lines.append(f"| {' | '.join((*cells, middle, interval, from_))} |")
    return [*lines, "", f"Time: the p90 of {inside} of {known} is inside its interval."]


def _error(predicted: int, measured: int) -> str:
    return f"{predicted / measured - 1:+.2%}"


def main() -> None:
    """Print the tables, and write them to results/ where a name is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where packages are, or are built")
    parser.add_argument("--model", action="append", dest="models", metavar="NAME[=FOLDER]")
    parser.add_argument("--package", action="append", dest="packages", metavar="TARGET:RECIPE")
    parser.add_argument("--size", type=int, help="side of the images; default: the model's own")
    parser.add_argument("--steps", type=int, default=2, help="of each image; default: 2")
    parser.add_argument("--images", type=int, default=0, help="to time; default: none")
    parser.add_argument("--remove", action="store_true", help="remove a package once measured")
    parser.add_argument("--write", metavar="NAME", help="write results/NAME.json and .md")
    options = parser.parse_args()
    wanted = options.packages or [
        f"{name}:{recipe}"
        for name, target in load_targets().items()
        for recipe in target.recipes
        if CALIBRATED not in recipe
    ]
    machine = read_machine()
    pairs: list[tuple[_Built, Row]] = []
    for model in options.models or MODELS:
        name, _, source = model.partition("=")
        for built in packages_of(name, source or name, options.folder, wanted, options.size):
            row = measured_row(built, options.steps)
            pairs.append((built, row))
            print(markdown(Results(machine=machine, rows=(row,))).splitlines()[6], flush=True)
            _write(options.write, Results(machine=machine, rows=tuple(row for _, row in pairs)))
            if options.remove and not options.images:
                shutil.rmtree(built.path)
    rows = [row for _, row in pairs]
    if options.images:
        rows = timed_rows(pairs, options.images, options.steps)
    results = Results(machine=machine, rows=tuple(rows))
    print(markdown(results))
    _write(options.write, results)


def _write(name: str | None, results: Results) -> None:
    """Write what there is so far."""
    if name is not None:
        place = RESULTS / name
        place.with_suffix(".json").write_text(dump_json(results), encoding="utf-8")
        place.with_suffix(".md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
