"""A line of the history, and the question which lines are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from edgegen.core.errors import ConfigError
from edgegen.core.evaluation import SuiteResult
from edgegen.core.measurement import MemoryMode, Residency, Workload
from edgegen.core.recipe import Arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the history says of a measurement without reading its raw samples.

    `source` is the name of the file that it was imported from; None is: measured from here.
    `device` is the address of the device, `device_model` what it calls itself. `complete` is false
    where the measurement was quick, was interrupted, or was made on an emulated processor: its
    latencies are no others' to build on. `p50_s` and `p90_s` are those of a steady image; a figure
    that was not measured is None. Moments are UTC, ISO 8601.
    """

    content_sha256: str
    added_at: str
    started_at: str
    source: str | None
    model: str
    weights_sha256: str
    manifest_sha256: str
    target: str
    recipe: str
    package_bytes: int
    device: str
    device_model: str | None
    device_profile: str | None
    machine: str
    processor: str | None
    complete: bool
    width: int
    height: int
    steps: int
    guidance: float
    guidance_start: float
    guidance_stop: float
    cache_interval: int
    scheduler: str
    providers: tuple[str, ...]
    threads: int | None
    residency: str
    memory_mode: str
    arithmetic: str | None
    p50_s: float | None
    p90_s: float | None
    peak_memory_bytes: int | None
    energy_j: float | None

    @property
    def device_title(self) -> str:
        """Return what the device is called in tables."""
        return self.device_model or self.processor or self.machine


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRecord:
    """What the history says of an evaluation; its pictures are left out.

    An evaluation has no moment of its own and no device: `added_at` is when it was kept. Moments
    are UTC, ISO 8601. `source` is the name of the file that it was imported from; None is: here.
    """

    content_sha256: str
    added_at: str
    source: str | None
    model: str
    weights_sha256: str
    manifest_sha256: str
    target: str
    recipe: str
    width: int
    height: int
    steps: int
    guidance: float
    arithmetic: str | None
    suites: tuple[SuiteResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which records are wanted; a field that is None wants any.

    `model` and `device` are what people type: a part of the model's name, and a part of the
    device's address, model, profile or processor. `threads` is "default" for what ran with the
    runtime's own number, `arithmetic` "own" for the recipe's. The other fields are equal or not.
    Evaluations have no device and no workload but size, steps, guidance and arithmetic: a query for
    another of those wants none of them.
    """

    model: str | None = None
    device: str | None = None
    since: datetime | None = None
    weights_sha256: str | None = None
    manifest_sha256: str | None = None
    target: str | None = None
    recipe: str | None = None
    device_address: str | None = None
    device_model: str | None = None
    device_profile: str | None = None
    processor: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_start: float | None = None
    guidance_stop: float | None = None
    cache_interval: int | None = None
    scheduler: str | None = None
    providers: tuple[str, ...] | None = None
    threads: int | Literal["default"] | None = None
    residency: Residency | None = None
    memory_mode: MemoryMode | None = None
    arithmetic: Arithmetic | Literal["own"] | None = None
    complete: bool | None = None


def same_work(workload: Workload) -> Query:
    """Return the query for what takes as long as a workload: all but the prompts and the seed."""
    return Query(
        width=workload.width,
        height=workload.height,
        steps=workload.steps,
        guidance=workload.guidance,
        guidance_start=workload.guidance_start,
        guidance_stop=workload.guidance_stop,
        cache_interval=workload.cache_interval,
        scheduler=workload.scheduler,
        providers=workload.providers,
        threads="default" if workload.threads is None else workload.threads,
        residency=workload.residency,
        memory_mode=workload.memory,
        arithmetic=workload.arithmetic or "own",
    )


def moment(text: str) -> str:
    """Return a moment in UTC to the second, `2026-01-02T03:04:05+00:00`, so that texts sort.

    A moment without a zone is taken for UTC. Raises ConfigError for what is none.
    """
    try:
        when = datetime.fromisoformat(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{text!r} is not a moment in ISO 8601.", hint="Write it as 2026-01-02T03:04:05Z."
        ) from error
    return when.isoformat(timespec="seconds")
