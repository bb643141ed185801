"""Whether two drawings of one cell are the same, and what became of all cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.schedulers.sides import Cell, Drawn, drawn_by_diffusers, drawn_by_runner

TOLERANCE = 5e-5
"""Of the latents' scale, after each step; float32 in another order of operations."""
NUDGE = 1e-6


@dataclass(frozen=True)
class Verdict:
    """What became of a cell.

    ``equal``; ``equal within rounding``, where a nudge of a millionth changes as much;
    ``refused by both``; ``refused`` by edgegen alone; or ``wrong``.
    """

    cell: Cell
    kind: str
    why: str = ""


@dataclass
class Tally:
    """How many cells came out how, and the first few that are wrong."""

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
    if not theirs.latents:
        theirs = Drawn(refused=theirs.refused or "draws nothing")
    if ours.refused and theirs.refused:
        return Verdict(cell, "refused by both", ours.refused)
    if ours.refused:
        return Verdict(cell, "refused", ours.refused)
    if theirs.refused:
        return Verdict(cell, "wrong", f"drawn, where diffusers refuses: {theirs.refused}")
    verdict = _compared(cell, ours, theirs)
    if verdict.kind == "wrong" and _as_far_as_a_nudge(ours, theirs, cell, folder):
        return Verdict(cell, "equal within rounding", verdict.why)
    return verdict


def _as_far_as_a_nudge(ours: Drawn, theirs: Drawn, cell: Cell, folder: Path) -> bool:
    """Return whether the sides differ by no more than the runner from itself, nudged a little."""
    if len(ours.latents) != len(theirs.latents):
        return False
    nudged = drawn_by_runner(cell, folder, nudge=NUDGE)
    apart = [_distance(*both) for both in zip(ours.latents, theirs.latents, strict=True)]
    moved = [_distance(*both) for both in zip(ours.latents, nudged.latents, strict=True)]
    return all(far <= near for far, near in zip(apart, moved, strict=True))


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def _compared(cell: Cell, ours: Drawn, theirs: Drawn) -> Verdict:
    if len(ours.latents) != len(theirs.latents):
        calls = f"{len(ours.latents)} calls, diffusers makes {len(theirs.latents)}"
        return Verdict(cell, "wrong", f"{calls}: {ours.timesteps} and {theirs.timesteps}")
    largest = max(1.0, ours.first)
    for step, (mine, yours) in enumerate(zip(ours.latents, theirs.latents, strict=True)):
        # What the largest sample was rounded by stays in the smaller ones after it (zero SNR).
        largest = max(largest, float(np.abs(yours).max()))
        scale = max(1.0, float(np.abs(yours).max()))
        difference = float(np.abs(mine - yours).max())
        if not difference <= TOLERANCE * scale + 4 * np.finfo(np.float32).eps * largest:
            return Verdict(cell, "wrong", f"step {step} differs by {difference:.1e} of {scale:.1e}")
    return Verdict(cell, "equal")
