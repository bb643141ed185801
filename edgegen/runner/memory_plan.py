"""Finds the fastest way to draw with a package that keeps within a limit of memory.

What a way takes is measured once, by two steps of an image, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgegen.core.codec import dump_json, encode, load_json
from edgegen.core.errors import ConfigError, OutOfMemoryError, ResourceError
from edgegen.core.files import write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.measurement import MemoryMode, Residency
from edgegen.core.package import PackageManifest
from edgegen.core.units import format_bytes
from edgegen.runner.job import GenerateJob

_STEPS = 2
_SMALLEST_TILE = 16
"""In latents. Smaller tiles see too little of the picture."""
_MARGIN = 0.98
"""Two measurements of the same differ by less than the rest."""

Draw = Callable[[GenerateJob], int | None]
"""Draws, and returns the highest sum of PSS. Raises OutOfMemoryError beyond the job's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How components are held and called.

    `decode_tile` is the side of a decoder's tile, in latents; None decodes the picture at once. A
    `guidance_batch` of 1 guides in two calls.
    """

    residency: Residency = "all"
    memory: MemoryMode = "auto"
    guidance_batch: Literal[1, 2] = 2
    decode_tile: int | None = None

    @property
    def words(self) -> str:
        """Return what is done for memory."""
        done = {
            "one component at a time": self.residency == "sequential",
            "mapped weights": self.memory == "lean",
            "guidance in two calls": self.guidance_batch == 1,
            f"decoded in tiles of {self.decode_tile}": self.decode_tile is not None,
        }
        return ", ".join(word for word, is_done in done.items() if is_done) or "as always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a plan was found to take: its peak, or a limit that it was beyond."""

    plan: MemoryPlan
    peak_bytes: int | None = None
    above_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of a package's plans, on one machine and at one size."""

    known: tuple[Known, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The plan that is taken, and its predicted peak."""

    plan: MemoryPlan
    peak_bytes: int


def planned(job: GenerateJob, plan: MemoryPlan) -> GenerateJob:
    """Return a job that is done as a plan says."""
    return replace(
        job,
        residency=plan.residency,
        decode_tile=plan.decode_tile,
        backend=replace(job.backend, memory=plan.memory),
        request=replace(job.request, guidance_batch=plan.guidance_batch),
    )


def plans(job: GenerateJob, manifest: PackageManifest) -> tuple[MemoryPlan, ...]:
    """Return the plans that a package allows, the fastest first; what the job fixes stays.

    A residency `sequential` and a memory mode other than `auto` are fixed. Guidance is in two calls
    where there is guidance, and the denoiser takes one sample; a picture is in tiles where the
    decoder takes any size.
    """
    start = MemoryPlan(residency=job.residency, memory=job.backend.memory or "auto")
    ladder = [start]
    if start.residency == "all":
        ladder.append(replace(ladder[-1], residency="sequential"))
    if _guides_in_one_call(job, manifest):
        ladder.append(replace(ladder[-1], guidance_batch=1))
    tiles = _tiles(job, manifest)
    ladder += [replace(ladder[-1], decode_tile=tile) for tile in tiles]
    if start.memory == "auto":
        ladder.append(replace(ladder[-1], memory="lean"))
    return tuple(ladder)


def fitting_plan(
    job: GenerateJob,
    manifest: PackageManifest,
    limit_bytes: int,
    draw: Draw,
    *,
    place: str,
    say: Callable[[str], None] | None = None,
) -> Fitting:
    """Return the fastest plan that keeps within a limit, and what it takes.

    `place` tells packages, machines and runtimes apart, for what is kept of them. Raises
    OutOfMemoryError with the least that can be reached, where no plan keeps within the limit.
    """
    kept = _kept_as(job, place)
    found = {known.plan: known for known in _findings(kept).known}
    ladder = plans(job, manifest)
    for plan in ladder:
        known = found.get(plan) or Known(plan=plan)
        if known.peak_bytes is None and known.above_bytes < limit_bytes:
            known = found[plan] = _measured(job, plan, limit_bytes, draw)
            _keep(kept, found)
            if say is not None:
                say(_told(known))
        if known.peak_bytes is not None and known.peak_bytes <= limit_bytes * _MARGIN:
            return Fitting(plan=plan, peak_bytes=known.peak_bytes)
    leanest = found.get(ladder[-1])
    if leanest is None or leanest.peak_bytes is None:
        leanest = found[ladder[-1]] = _measured(job, ladder[-1], None, draw)
        _keep(kept, found)
    reached = leanest.peak_bytes
    assert reached is not None  # without a limit there is nothing to be beyond
    raise OutOfMemoryError(
        f"No way to draw this keeps within {format_bytes(limit_bytes)}: the least is "
        f"{format_bytes(reached)} ({leanest.plan.words}).",
        hint=f"Give --max-memory {math.ceil(reached / _MARGIN / 1e6)}MB, a smaller image, or a "
        "package with fewer bits (int8, int4).",
    )


def _measured(job: GenerateJob, plan: MemoryPlan, limit_bytes: int | None, draw: Draw) -> Known:
    request = replace(job.request, count=1, steps=min(_STEPS, job.request.steps or _STEPS))
    trial = replace(
        planned(replace(job, request=request), plan),
        output=None,
        file_names=None,
        warmup_images=0,
        repeat=1,
        duration_s=None,
        measure_memory=True,
        max_memory_bytes=limit_bytes,
    )
    try:
        peak = draw(trial)
    except OutOfMemoryError:
        if limit_bytes is None:
            raise
        return Known(plan=plan, above_bytes=limit_bytes)
    if peak is None:
        raise ConfigError(
            "This device doesn't tell how much memory a process takes.",
            hint="Leave --max-memory out.",
        )
    return Known(plan=plan, peak_bytes=peak)


def _told(known: Known) -> str:
    if known.peak_bytes is None:
        return f"{known.plan.words}: more than {format_bytes(known.above_bytes)}"
    return f"{known.plan.words}: {format_bytes(known.peak_bytes)}"


def _guides_in_one_call(job: GenerateJob, manifest: PackageManifest) -> bool:
    guidance = job.request.guidance
    if guidance is None:
        guidance = manifest.generation.guidance
    (denoiser,) = (it.spec for it in manifest.components if it.spec.role == "denoiser")
    sample = next(each for each in denoiser.inputs if each.name == "sample")
    is_guided = manifest.facts.guidance == "classifier-free" and guidance > 1
    return is_guided and isinstance(sample.shape[0], str)


def _tiles(job: GenerateJob, manifest: PackageManifest) -> list[int]:
    """Return the sides of tiles to try: a half and a quarter of the latents'."""
    decoders = [it.spec for it in manifest.components if it.spec.role == "decoder"]
    if not decoders or len(decoders[0].inputs) > 1:
        return []
    if any(isinstance(axis, int) for axis in decoders[0].inputs[0].shape[2:]):
        return []
    generation = manifest.generation
    width = job.request.width or generation.width
    height = job.request.height or generation.height
    side = max(width, height) // generation.vae_scale_factor
    sides = {math.ceil(side / 16) * 8, math.ceil(side / 32) * 8}
    return sorted((it for it in sides if _SMALLEST_TILE <= it < side), reverse=True)


def _kept_as(job: GenerateJob, place: str) -> Path:
    request = job.request
    facts = {
        "place": place,
        "backend": encode(replace(job.backend, optimized=None)),
        "size": (request.width, request.height),
        "guidance": request.guidance,
        "pictures": [request.image is not None, len(request.control or ())],
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "memory" / f"{digest[:32]}.json"


def _findings(path: Path) -> Findings:
    try:
        return load_json(Findings, path)
    except ConfigError:  # there is none, or it can't be read: it is found again
        return Findings()


def _keep(path: Path, found: dict[MemoryPlan, Known]) -> None:
    with suppress(OSError, ResourceError):  # it is found again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, dump_json(Findings(known=tuple(found.values()))))
