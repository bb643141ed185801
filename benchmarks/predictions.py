"""Holds predictions against what is measured: bytes, and the highest memory.

    python benchmarks/predictions.py FOLDER [--model NAME …] [--package onnx:fp32 …] [--write NAME]

Packages are built in FOLDER without parity, or found there. Each is run twice as `edgegen bench`
does its memory run, with all components loaded and with one at a time, for `--steps` steps.
`--components` also runs each component in a process that has nothing else, and holds the largest
predicted buffer against the file. The model of another shape is a folder: `--model sd15=FOLDER`.
Libraries count as far as no other process maps them, so run it alone on the machine.

Times are those of `prediction_times.py`.

`--update NAME` keeps the rows of results/NAME.json that are not measured now. With `--predict-only`
nothing is built or measured: the predictions of all rows are made again by today's code, where the
model is a built-in one or is named with `--model`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgegen_runner.package import load_package

from benchmarks.graph_buffers import largest_buffer
from benchmarks.machine import Machine, read_machine
from edgegen.core.codec import dump_json, load_json
from edgegen.core.measurement import Residency
from edgegen.core.process import run
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_targets
from edgegen.models.source import resolve
from edgegen.packaging.batch import build_all
from edgegen.packaging.candidate import Candidate, make_candidate, predict
from edgegen.packaging.model_facts import ModelFacts, read_facts
from edgegen.packaging.plan import plan_package
from edgegen.predict.memory import called_components, predict_memory
from edgegen.predict.runtime_memory import RUNTIMES
from edgegen.predict.survey import RESIDENCIES, backend_of
from edgegen.predict.traces import read_traces
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.protocol import Memory
from edgegen.runner.session import RunnerSession

RESULTS = Path(__file__).parent / "results"
MODELS = ("builtin:emoji", "builtin:scenes", "builtin:scenes-4step", "builtin:scenes-4step-tiny")
CALIBRATED = "static"
"""In the names of recipes whose calibration takes minutes: they are built where `--package` names
them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A component in a process that has nothing else: bytes, and its largest single buffer.

    `peak_bytes` is the highest resident memory, which the system keeps without gaps: a small one
    runs for less time than sampling PSS takes. `buffer_bytes` is the largest tensor of the file,
    `buffer` its name.
    """

    predicted_bytes: int
    predicted_buffer_bytes: int
    peak_bytes: int
    buffer_bytes: int
    buffer: str


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
    components: dict[str, Alone] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        """Return which package of which model it is of."""
        return (self.model, self.target, self.recipe, self.width, self.height)


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


def _key_of(built: _Built) -> tuple[str, str, str, int, int]:
    candidate = built.candidate
    size = candidate.spec.generation
    return (built.name, candidate.target.name, candidate.recipe.name, size.width, size.height)


def predicted_row(built: _Built, row: Row) -> Row:
    """Return a row with what today's code predicts."""
    candidate, facts = built.candidate, built.facts
    traces = read_traces(candidate, facts)
    size = predict(candidate, facts)
    found = {
        residency: predict_memory(
            candidate, facts, traces, backend=backend_of(candidate), residency=residency
        )
        for residency in RESIDENCIES
    }
    memory = found["sequential"]
    components = {
        name: replace(
            alone,
            predicted_bytes=memory.base_bytes + memory.components[name].total_bytes,
            predicted_buffer_bytes=memory.components[name].largest_buffer_bytes,
        )
        for name, alone in row.components.items()
    }
    return replace(
        row,
        predicted_bytes=size.package_bytes - size.golden_bytes,
        predicted_peak_bytes={name: it.peak_bytes for name, it in found.items()},
        components=components,
    )


def measured_row(built: _Built, steps: int | None, *, components: bool) -> Row:
    """Return what a package takes, predicted and measured; by component as well, if asked."""
    candidate = built.candidate
    generation = candidate.spec.generation
    backend = backend_of(candidate)
    files = [path for path in built.path.rglob("*") if path.is_file()]
    golden = sum(path.stat().st_size for path in files if path.parent.name == "golden")
    peaks: dict[Residency, int] = {}
    resident: dict[Residency, int] = {}
    is_measured = not RUNTIMES[backend].unmeasured
    for residency in RESIDENCIES if is_measured else ():
        found = peak_of(built, backend, residency, steps)
        if found is not None and found.peak_pss_bytes is not None:
            peaks[residency] = found.peak_pss_bytes
            resident[residency] = found.peak_resident_bytes or 0
    row = Row(
        model=built.name,
        target=candidate.target.name,
        recipe=candidate.recipe.name,
        width=generation.width,
        height=generation.height,
        steps=steps or generation.steps,
        package_bytes=sum(path.stat().st_size for path in files) - golden,
        predicted_bytes=0,
        peak_bytes=peaks,
        resident_bytes=resident,
        predicted_peak_bytes={},
        components=alone(built, backend) if components and is_measured else {},
    )
    return predicted_row(built, row)


def alone(built: _Built, backend: str) -> dict[str, Alone]:
    """Run each component that an image calls in a process that has nothing else."""
    traces = read_traces(built.candidate, built.facts)
    paths = {it.name: it.path for it in load_package(built.path).components.values()}
    parts = {it.name: it.parts for it in load_package(built.path).components.values()}
    found = {}
    for component in called_components(built.candidate.spec):
        name = component.name
        operators = [it for it in traces[name].operators if it.kind == "input"]
        inputs = zip(component.inputs, operators, strict=True)
        shapes = {tensor.name: it.shape for tensor, it in inputs}
        job = {
            "package": str(built.path.absolute()),
            "component": name,
            "backend": backend,
            "shapes": shapes,
        }
        command = [sys.executable, str(Path(__file__).with_name("component_memory.py"))]
        memory = json.loads(run([*command, json.dumps(job)], timeout_s=1800).stdout)
        buffer = largest_buffer(built.candidate.target.name, (paths[name], *parts[name]), shapes)
        found[name] = Alone(
            predicted_bytes=0,
            predicted_buffer_bytes=0,
            peak_bytes=memory["peak_resident_bytes"],
            buffer_bytes=buffer.size_bytes,
            buffer=buffer.name,
        )
    return found


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


def markdown(results: Results) -> str:
    """Return the rows as tables, the largest errors first named."""
    lines = [
        "# Predicted against measured",
        "",
        f"{results.machine.name()}. Made by `benchmarks/predictions.py`. Bytes are those of "
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
    if any(row.components for row in results.rows):
        lines += ["", *_components(results.rows)]
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


def _components(rows: Sequence[Row]) -> list[str]:
    lines = [
        "Components, each in a process that has nothing else: the highest resident memory, "
        "predicted and measured, and the largest single buffer, predicted and in the file.",
        "",
        "| model | package | size | component | memory | error | largest buffer | in the file |",
        "|---|---|---|---|---|---|---|---|",
    ]
    errors = []
    for row in rows:
        for name, it in row.components.items():
            cells = [row.model, f"{row.target} `{row.recipe}`", f"{row.width} × {row.height}", name]
            cells.append(f"{it.predicted_bytes / 1e6:,.0f} of {it.peak_bytes / 1e6:,.0f}")
            cells.append(_error(it.predicted_bytes, it.peak_bytes))
            errors.append(abs(it.predicted_bytes / it.peak_bytes - 1))
            found = f"{it.buffer_bytes / 1e6:,.1f}, `{it.buffer}`"
            cells += [f"{it.predicted_buffer_bytes / 1e6:,.1f}", found]
            lines.append(f"| {' | '.join(cells)} |")
    if errors:
        within = sum(error <= 0.15 for error in errors)
        lines += [
            "",
            f"Components: {len(errors)} runs, {within} within 15 %, the largest error "
            f"{max(errors):.1%}.",
        ]
    return lines


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
    parser.add_argument("--components", action="store_true", help="each by itself, too")
    parser.add_argument(
        "--components-only", action="store_true", help="add those to a row that --update keeps"
    )
    parser.add_argument("--remove", action="store_true", help="remove a package once measured")
    parser.add_argument("--predict-only", action="store_true", help="all rows of --update again")
    parser.add_argument("--write", metavar="NAME", help="write results/NAME.json and .md")
    parser.add_argument("--update", metavar="NAME", help="the same, and keep its other rows")
    options = parser.parse_args()
    wanted = options.packages or [
        f"{name}:{recipe}"
        for name, target in load_targets().items()
        for recipe in target.recipes
        if CALIBRATED not in recipe
    ]
    models = dict((*it.partition("="),)[::2] for it in options.models or MODELS)
    machine = read_machine()
    if options.update and options.predict_only:
        before = _read(options.update)
        rows = [predicted_again(row, models) for row in before.rows]
        _write(options.update, replace(before, rows=tuple(rows)))
        print(markdown(_read(options.update)))
        return
    results = Results(machine=machine, rows=())
    for name, source in models.items():
        for built in packages_of(name, source or name, options.folder, wanted, options.size):
            if options.components_only:
                row = next(it for it in _read(options.update).rows if it.key == _key_of(built))
                row = replace(row, components=alone(built, backend_of(built.candidate)))
                row = predicted_row(built, row)
            else:
                row = measured_row(built, options.steps, components=options.components)
            print(markdown(replace(results, rows=(row,))), flush=True)
            if options.update:  # as it is now: another process may have added a row
                results = _read(options.update)
            others = {it.key: it for it in results.rows}
            results = Results(machine=machine, rows=tuple({**others, row.key: row}.values()))
            _write(options.write or options.update, results)
            if options.remove:
                shutil.rmtree(built.path)
    print(markdown(results))


def predicted_again(row: Row, models: Mapping[str, str]) -> Row:
    """Return a kept row with today's predictions, or as it is where its model isn't at hand."""
    source = models.get(row.model) or (row.model if row.model.startswith("builtin:") else None)
    if source is None:
        print(f"{row.model} {row.target}:{row.recipe}: predictions as they were", flush=True)
        return row
    spec = load_targets()[row.target]
    facts = _facts_of(source)
    recipe = load_recipe(row.recipe, spec)
    candidate = make_candidate(facts, spec, recipe, width=row.width, height=row.height)
    return predicted_row(_Built(name=row.model, candidate=candidate, facts=facts, path=Path()), row)


@cache
def _facts_of(source: str) -> ModelFacts:
    return read_facts(resolve(source))


def _read(name: str) -> Results:
    return load_json(Results, (RESULTS / name).with_suffix(".json"))


def _write(name: str | None, results: Results) -> None:
    """Write what there is so far."""
    if name is not None:
        place = RESULTS / name
        place.with_suffix(".json").write_text(dump_json(results), encoding="utf-8")
        place.with_suffix(".md").write_text(markdown(results), encoding="utf-8")


if __name__ == "__main__":
    main()
