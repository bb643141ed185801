"""Several recipes of one target, each converted by edgegen and by a peer: the run, and its result.

`convert_openvino.py` and `convert_tflite.py` say what the peer does; all else is here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.conversion import (
    convert_with_edgegen,
    end_children_when_terminated,
    model_folder,
    read_through,
    say,
)
from benchmarks.convert_report import GB, Conversion
from benchmarks.machine import Machine, read_machine
from benchmarks.peer_environments import PeerEnvironment
from benchmarks.results_files import keep
from edgegen.core.process import ProcessError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A conversion that its tool did not finish; `why` is the last line of what it said."""

    tool: str
    command: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeResult:
    """One recipe: edgegen's conversion first, then the peer's."""

    recipe: str
    conversions: tuple[Conversion, ...] = ()
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Everything that a run found."""

    model: str
    target: str
    machine: Machine
    recipes: tuple[RecipeResult, ...] = ()
    note: str = ""


Outcome = Conversion | Failure
PeerSide = Callable[[Path, Path, Path, str], Iterator[Outcome]]
"""Converts a model with the peer: its interpreter, the model, a folder, and edgegen's recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a script compares: a target's recipes with a peer."""

    target: str
    recipes: tuple[str, ...]
    peer: PeerEnvironment
    convert: PeerSide
    packages: tuple[str, ...] = ("torch", "diffusers", "transformers")
    optional_recipes: tuple[str, ...] = ()
    """Those that are run only where they are asked for."""


def failure(tool: str, command: str, error: ProcessError) -> Failure:
    """Say how a tool failed: the last line of its log that is not empty, else its exit."""
    said = [line.strip() for line in error.tail.splitlines() if line.strip()]
    return Failure(tool=tool, command=command, why=said[-1] if said else str(error))


def run_sweep(comparison: Comparison, arguments: Sequence[str], about: str) -> int:
    """Convert every recipe with both tools; show the result, and write it after each recipe."""
    options = _parse(comparison, arguments, about)
    python = options.peer_python or comparison.peer.python
    if python is None and options.only != "ours":
        say(comparison.peer.how_to_make)
        return 0 if options.skip_without_peer else 2
    end_children_when_terminated()
    model = model_folder(options.model)
    sweep = Sweep(
        model=options.model if options.model in ("sd15", "sdxl") else model.name,
        target=comparison.target,
        machine=read_machine(),
        note=options.note,
    )
    with tempfile.TemporaryDirectory(prefix="convert-", dir=options.work) as work:
        for recipe in options.recipes:
            outcomes: list[Outcome] = []
            read_through(model)
            if options.only != "peer":
                kept = options.keep / f"{comparison.target}-{recipe}" if options.keep else None
                output = kept or Path(work, f"ours-{recipe}")
                outcomes.append(_ours(comparison, model, output, recipe))
                say(outcomes[-1])
                if kept is None:
                    shutil.rmtree(output, ignore_errors=True)
            if options.only != "ours" and python is not None:
                for outcome in comparison.convert(python, model, Path(work), recipe):
                    outcomes.append(outcome)
                    say(outcome)
            sweep = replace(sweep, recipes=(*sweep.recipes, _result(recipe, outcomes)))
            _write(sweep, options.write)
    print(table(sweep))
    return 0


def _ours(comparison: Comparison, model: Path, output: Path, recipe: str) -> Outcome:
    try:
        return convert_with_edgegen(
            model,
            output,
            target=comparison.target,
            recipe=recipe,
            packages=comparison.packages,
        )
    except ProcessError as error:
        return failure("edgegen", f"edgegen package -t {comparison.target} -r {recipe}", error)


def _result(recipe: str, outcomes: Sequence[Outcome]) -> RecipeResult:
    return RecipeResult(
        recipe=recipe,
        conversions=tuple(it for it in outcomes if isinstance(it, Conversion)),
        failures=tuple(it for it in outcomes if isinstance(it, Failure)),
    )


def _write(sweep: Sweep, name: str | None) -> None:
    if name is not None:
        keep(name, sweep, markdown(sweep))


_HEADS = ("recipe", "tool", "CPU s", "wall s", "peak GB", "size GB", "CPU", "wall", "peak", "size")
"""The last four are edgegen's figure over this tool's."""


def _cells(sweep: Sweep) -> Iterator[tuple[str, ...]]:
    for result in sweep.recipes:
        ours = next((it for it in result.conversions if it.tool == "edgegen"), None)
        for item in result.conversions:
            ratios: tuple[str, ...] = ("", "", "", "")
            if ours is not None and item is not ours:
                mine, other = _figures(ours), _figures(item)
                ratios = tuple(_share(a, b) for a, b in zip(mine, other, strict=True))
            shown = (_number(value) for value in _figures(item))
            yield (result.recipe, item.tool, *shown, *ratios)
        for failed in result.failures:
            yield (result.recipe, failed.tool, "failed", *[""] * 7)


def _figures(item: Conversion) -> tuple[float | None, ...]:
    peak = None if item.highest_bytes is None else item.highest_bytes / GB
    return (item.cpu_s, item.wall_s, peak, item.size_bytes / GB)


def table(sweep: Sweep) -> str:
    """Return a sweep for a terminal."""
    rows = [_HEADS, *_cells(sweep)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [f"{sweep.model} → {sweep.target}, {sweep.machine.describe()}"]
    for row in rows:
        left = [f"{row[index]:<{widths[index]}}" for index in (0, 1)]
        right = [f"{row[index]:>{widths[index]}}" for index in range(2, len(row))]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join([*lines, *_failure_lines(sweep)])


def markdown(sweep: Sweep) -> str:
    """Return a sweep as a page of text."""
    lines = [
        f"# Conversion of {sweep.model} to {sweep.target}",
        "",
        f"{sweep.machine.describe()}. {sweep.note}".strip(),
        "",
        "| " + " | ".join((*_HEADS[:6], *(f"{name} ratio" for name in _HEADS[6:]))) + " |",
        "|---" * len(_HEADS) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in _cells(sweep)]
    lines += [
        "",
        "CPU is that of the whole process tree. Peak memory is the highest sum of PSS over the",
        "tree, file pages included, or a part's own where that saw more. Each tool ran once; a",
        "ratio is edgegen's figure over that tool's.",
    ]
    parts = [
        f"| {result.recipe} | {item.tool} | {part.stage} | {_number(part.cpu_s)} | "
        f"{_number(part.wall_s)} | {_number(_gigabytes(part.peak_memory_bytes))} |"
        for result in sweep.recipes
        for item in result.conversions
        for part in item.parts
    ]
    if parts:
        head = "| recipe | tool | part | CPU s | wall s | peak GB |"
        lines += ["", "## Part by part", "", head, "|---" * 6 + "|", *parts]
    lines += ["", "## What was run", ""]
    commands = {
        (item.tool, item.command): f"- {item.tool}: `{item.command}`; weights in {item.weights}; "
        + ", ".join(f"{name} {version}" for name, version in item.versions.items())
        for result in sweep.recipes
        for item in result.conversions
    }
    return "\n".join([*lines, *commands.values(), *_failure_lines(sweep)]) + "\n"


def _failure_lines(sweep: Sweep) -> list[str]:
    return [
        f"- {result.recipe}: {failed.tool} failed: `{failed.command}`: {failed.why}"
        for result in sweep.recipes
        for failed in result.failures
    ]


def _gigabytes(value: int | None) -> float | None:
    return None if value is None else value / GB


def _number(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _share(ours: float | None, other: float | None) -> str:
    return f"{ours / other:.3f}" if ours is not None and other else ""


def _parse(comparison: Comparison, arguments: Sequence[str], about: str) -> argparse.Namespace:
    every = comparison.recipes + comparison.optional_recipes
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--model", default="sd15", help="sd15, sdxl, emoji, or a folder")
    parser.add_argument("--recipes", nargs="+", choices=every, default=list(comparison.recipes))
    parser.add_argument("--peer-python", type=Path, help="an interpreter that has the peer")
    parser.add_argument("--only", choices=("ours", "peer"))
    parser.add_argument("--keep", type=Path, help="a folder where edgegen's packages stay")
    parser.add_argument("--work", type=Path, help="folder for what is converted")
    parser.add_argument("--note", default="", help="a sentence for the report")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    parser.add_argument(
        "--skip-without-peer", action="store_true", help="succeed where the peer is missing"
    )
    return parser.parse_args(arguments)
