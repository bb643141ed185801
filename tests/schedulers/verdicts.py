"""Whether two drawings of one cell are the same, and what became of all cells."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.schedulers.sides import Cell, Drawn, drawn_by_diffusers, drawn_by_runner

TOLERANCE = 5e-5
"""Of the latents' scale, after each step; float32 in another order of operations."""
NUDGE = 1e-6
_PERIODS = (1, 3, 8)
"""After how many numbers a nudge turns from up to down."""
_RUNS_OUT = ("out of bounds", "list index out of range", "AssertionError")
"""What diffusers' errors say where it begins one place late and runs past its last step."""


KINDS = {
    "equal": "the same latents after every step",
    "within rounding": "the same as far as rounding lets them be: a nudge of a millionth, with "
    "the rounding of the sample before, moves them as much, or turns a timestep to the next whole "
    "number",
    "refused by both": "refused by both: diffusers raises an error, draws nothing, or computes "
    "what is no number",
    "refused": "refused by edgegen alone, by name",
    "drawn alone": "drawn by edgegen alone: diffusers' rounding ends in what is no number, or it "
    "runs past its own noise levels",
    "wrong": "another picture",
}
"""What becomes of a cell."""


@dataclass(frozen=True)
class Verdict:
    """What became of a cell, one of `KINDS`, and why."""

    cell: Cell
    kind: str
    why: str = ""


@dataclass
class Tally:
    """How many cells came out how, and those that are wrong."""

    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[Verdict] = field(default_factory=list)

    def take(self, verdict: Verdict) -> None:
        self.kinds[verdict.kind] += 1
        if verdict.kind == "refused":
            self.reasons[verdict.why] += 1
        if verdict.kind == "wrong":
            self.wrong.append(verdict)


def tally(cells: Iterable[Cell], folder: Path) -> Tally:
    """Draw every cell on both sides."""
    found = Tally()
    for cell in cells:
        found.take(judge(cell, folder))
    return found


def judge(cell: Cell, folder: Path) -> Verdict:
    """Draw a cell on both sides and compare what came after every step."""
    ours, theirs = drawn_by_runner(cell, folder), drawn_by_diffusers(cell, folder)
    refused = theirs.refused or ("" if theirs.latents else "draws nothing")
    if ours.refused:
        return Verdict(cell, "refused by both" if refused else "refused", ours.refused)
    difference = _difference(ours, theirs)
    if refused:
        by_rounding = "not a number" in refused and not difference
        # Where the first timestep occurs twice, diffusers begins at its second place.
        late = ours.timesteps[0] in ours.timesteps[1:] and "not a number" in refused
        runs_out = late or any(words in refused for words in _RUNS_OUT)
        return Verdict(cell, "drawn alone" if by_rounding or runs_out else "wrong", refused)
    if len(ours.latents) != len(theirs.latents):
        return Verdict(cell, "wrong", f"calls at {ours.timesteps}, not {theirs.timesteps}")
    if not difference:
        return Verdict(cell, "equal")
    kind = "within rounding" if _is_rounding(ours, theirs, cell, folder) else "wrong"
    return Verdict(cell, kind, difference)


def _difference(ours: Drawn, theirs: Drawn) -> str:
    """Return where the latents first differ, as far as both go; empty where they do not."""
    # What the largest sample was rounded by stays in the smaller ones after it (zero SNR).
    largest = max(1.0, ours.first)
    for step, (mine, yours) in enumerate(zip(ours.latents, theirs.latents, strict=False)):
        scale = max(1.0, float(np.abs(yours).max()))
        largest = max(largest, scale)
        apart = _distance(mine, yours)
        if not apart <= TOLERANCE * scale + 4 * float(np.finfo(np.float32).eps) * largest:
            return f"step {step} differs by {apart:.1e} of {scale:.1e}"
    return ""


def _is_rounding(ours: Drawn, theirs: Drawn, cell: Cell, folder: Path) -> bool:
    """Return whether the sides differ by no more than the runner from itself, nudged a little.

    It is nudged in several ways: of all these drawings, those farthest apart count.
    """
    turns = np.abs(np.subtract(ours.timesteps, theirs.timesteps))
    if set(turns) == {0.0, 1.0}:
        return True
    nudged = [
        drawn_by_runner(cell, folder, nudge=nudge, period=period).latents
        for nudge, period in itertools.product((NUDGE, -NUDGE), _PERIODS)
    ]
    apart = [_distance(*both) for both in zip(ours.latents, theirs.latents, strict=True)]
    moved = [
        max(_distance(*two) for two in itertools.combinations(drawn, 2))
        for drawn in zip(ours.latents, *nudged, strict=True)
    ]
    return all(far <= near for far, near in zip(apart, moved, strict=True))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())
