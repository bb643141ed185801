"""Holds the pictures of a recipe against those of the mix of its size, one by one.

    python benchmarks/frontier_pair.py [--pairs MODEL:TARGET:RECIPE …] [--of-each N] [--write NAME]

Model, recipe and mix draw the same requests with the same seeds: the first scenes of each group and
split, as in `compression_frontier.py` and more of them. Torch draws, with the weights as the codecs
restore them. Kept is how many pictures only one of the two has right, and how likely so uneven a
split is where both are as good (McNemar's test, exact, two-sided). `--write NAME` puts the pairs
into `results/NAME.json` and `.md`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from benchmarks.compression_frontier import Subject, is_for_torch, subject_of, wanted_of
from benchmarks.compression_frontier_report import Placed
from benchmarks.machine import Machine, read_machine
from benchmarks.results_files import keep
from edgegen.core.recipe import Recipe
from edgegen.core.targets import load_target
from edgegen.evaluate.metrics import METRICS
from edgegen.scenes.scores import judge_all

PAIRS = ("builtin:scenes-4step:coreml:mixed",)
OF_EACH = 9
_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of a pair: its predicted size, and its pictures beside the model's."""

    recipe: str
    size_bytes: int
    right: int
    flip: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A recipe and the mix of its size, drawn from the same requests.

    `model_right` is how many of the model's own pictures are right; `only_uniform` and `only_mix`
    how many of one side are where the other's isn't; `p` is McNemar's.
    """

    model: str
    target: str
    pictures: int
    model_right: int
    uniform: Side
    mix: Side
    only_uniform: int
    only_mix: int
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """All pairs of a run, and its machine."""

    machine: Machine
    pairs: tuple[Pair, ...]


def mcnemar(only_one: int, only_other: int) -> float:
    """Return how likely a split as uneven as this is where both sides are as good (two-sided).

    Exact, of a binomial with a half (McNemar, Psychometrika 12, 1947).
    """
    both = only_one + only_other
    tail = sum(comb(both, count) for count in range(min(only_one, only_other) + 1))
    return min(1.0, 2 * tail / 2**both)


def compare(subject: Subject, target: str, name: str) -> Pair:
    """Return a recipe of a target beside the mix that was made for its size."""
    asked = argparse.Namespace(targets=[target], recipes=[name], no_mixes=False)
    rows = list(wanted_of(subject, asked))
    uniform, mix = (next(it for it in rows if it[0].mix_of == of) for of in (None, name))
    left, left_right = _drawn(subject, *uniform)
    right, right_right = _drawn(subject, *mix)
    only_uniform = int(np.sum(left_right & ~right_right))
    only_mix = int(np.sum(right_right & ~left_right))
    return Pair(
        model=subject.model,
        target=target,
        pictures=len(subject.judged),
        model_right=subject.reference.right,
        uniform=left,
        mix=right,
        only_uniform=only_uniform,
        only_mix=only_mix,
        p=mcnemar(only_uniform, only_mix),
    )


def _drawn(subject: Subject, row: Placed, recipe: Recipe) -> tuple[Side, NDArray[np.bool_]]:
    """Draw with a recipe's weights; return its figures, and which pictures are right."""
    if not is_for_torch(recipe):
        raise SystemExit(f"{row.target} {row.recipe} is drawn by packages, not by torch.")
    subject.torch.store(recipe, load_target(row.target))
    drawn = list(judge_all(subject.requests, subject.torch, batch=_AT_ONCE))
    flips = [
        METRICS["flip"].compute(theirs, ours)
        for (_, theirs, _), (_, ours, _) in zip(subject.judged, drawn, strict=True)
    ]
    right = np.array([verdict.all_right for _, _, verdict in drawn])
    side = Side(
        recipe=row.recipe,
        size_bytes=row.size_bytes,
        right=int(right.sum()),
        flip=float(np.mean([it for it in flips if it is not None])),
    )
    return side, right


def markdown(found: Pairs) -> str:
    """Return the table of the pairs."""
    lines = [
        "# Recipes beside the mix of their size, picture by picture",
        "",
        f"{found.machine.name()}.",
        "",
        "| model | package | right | mix, MB | right | the model | only the recipe | only the mix "
        "| p |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for it in found.pairs:
        model, of = it.model.removeprefix("builtin:"), f"of {it.pictures}"
        lines.append(
            f"| {model} | {it.target} {it.uniform.recipe}, {it.uniform.size_bytes / 1e6:.2f} MB "
            f"| {it.uniform.right} {of} | {it.mix.size_bytes / 1e6:.2f} | {it.mix.right} {of} "
            f"| {it.model_right} {of} | {it.only_uniform} | {it.only_mix} | {it.p:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Draw the pairs, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", nargs="+", default=PAIRS, metavar="MODEL:TARGET:RECIPE")
    parser.add_argument("--of-each", type=int, default=OF_EACH, help="scenes of a group and split")
    parser.add_argument("--write", metavar="NAME", help="to benchmarks/results/NAME.json and .md")
    options = parser.parse_args(arguments)
    found = []
    for text in options.pairs:
        model, target, recipe = text.rsplit(":", 2)
        found.append(compare(subject_of(model, options.of_each), target, recipe))
    pairs = Pairs(machine=read_machine(), pairs=tuple(found))
    print(markdown(pairs))
    if options.write is not None:
        keep(options.write, pairs, markdown(pairs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
