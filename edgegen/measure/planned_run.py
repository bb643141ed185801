"""One process of a benchmark, before it is started."""

from __future__ import annotations

from dataclasses import dataclass

from edgegen.core.measurement import RunKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One process of the runner that will be started."""

    kind: RunKind
    title: str
    images: int
    warmup_images: int = 0
    duration_s: float | None = None
