"""What parity asks of the side that computes with a package's artifacts."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgegen_runner.metrics import Array

from edgegen.core.errors import EdgegenError
from edgegen.core.package import GoldenCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A component to be run on the `<input>.npy` of a folder; `<output>.npy` go to another."""

    component: str
    inputs: Path
    outputs: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A case to be run, from what lies in `pictures` where it starts from a picture.

    Its outcome is the image's pixels, uint8 (height, width, channels). The latents after each call
    of the scheduler go to `place`, as `<call>.npy`.
    """

    case: GoldenCase
    pictures: Path
    place: Path


Task = Probe | Draw
Outcome = Array | EdgegenError | None
"""Pixels of what was drawn, None for a probe, or why there is no result."""


class ArtifactSide(Protocol):
    """Computes with a package's artifacts."""

    def work(self, tasks: Sequence[Task]) -> Generator[Outcome]:
        """Do the tasks in their order; yield the outcome of each as it is done.

        A task that fails leaves those after it as they are.
        """
        ...

    @property
    def cpu_s(self) -> float:
        """Return the processor seconds of the tasks that are done."""
        ...
