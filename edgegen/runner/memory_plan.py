"""Finds a fast way to draw with a package that keeps within a limit of memory.

What a way takes is measured once, by two steps of an image, and kept in the cache. The runner tells
in which phase of an image it took most: what is done next is for that phase.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgegen.core.codec import encode
from edgegen.core.errors import ConfigError, OutOfMemoryError
from edgegen.core.measurement import MemoryMode, Residency
from edgegen.core.package import PackageManifest
from edgegen.core.remembered import place_of, remember, remembered
from edgegen.core.units import format_bytes
from edgegen.runner.job import GenerateJob

_STEPS = 2
_SMALLEST_TILE = 16
"""In latents. Smaller tiles see too little of the picture."""
_MARGIN = 0.98
"""Two measurements of the same differ by less than the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The highest sum of PSS of a job, and the phase in which it was; None where nobody tells."""

    pss_bytes: int | None
    phase: str | None = None


Draw = Callable[[GenerateJob], Peak]
"""Draws, and returns the peak. Raises OutOfMemoryError beyond the job's limit."""


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
            "the prompt's encoders let go": self.residency == "drawing",
            "one component at a time": self.residency == "sequential",
            "one part of a component at a time": self.residency == "parts",
            "mapped weights": self.memory == "lean",
            "guidance in two calls": self.guidance_batch == 1,
            f"decoded in tiles of {self.decode_tile}": self.decode_tile is not None,
        }
        return ", ".join(word for word, is_done in done.items() if is_done) or "as always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a plan was found to take: its peak, or a limit that it was beyond.

    `phase` is where the peak was, or where it went beyond the limit.
    """

    plan: MemoryPlan
    peak_bytes: int | None = None
    above_bytes: int = 0
    phase: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A change to a plan that takes less memory in some phases of an image; none are all of it."""

    change: Mapping[str, Any]
    phases: frozenset[str] = frozenset()

    def helps(self, phase: str | None) -> bool:
        """Return whether it can lower a peak in a phase; None is a phase that nobody tells."""
        return phase is None or not self.phases or phase in self.phases


_DENOISING = frozenset({"denoise"})
_DECODING = frozenset({"vae_decoder"})
_IN_PARTS = frozenset({"text_encoder", "denoise", "vae_decoder"})
_MAPPED_AT_NO_COST = frozenset({"ai_edge_litert"})
"""Runtimes that map what their kernels compute with."""
_PART = re.compile(r"(?:.+/)?model\.\d+\..+")
"""A file of a graph that is cut, after the first."""


def start_of(job: GenerateJob) -> MemoryPlan:
    """Return how a job is done as it is given."""
    return MemoryPlan(residency=job.residency, memory=job.backend.memory or "auto")


def remedies(job: GenerateJob, manifest: PackageManifest) -> tuple[Remedy, ...]:
    """Return what can be done for memory, the cheapest first; what the job fixes stays.

    A residency other than `all` and a memory mode other than `auto` are fixed. Guidance is in two
    calls where there is guidance, and the denoiser takes one sample; a picture is in tiles where
    the decoder takes any size, and a part of a component is alone where one is cut.
    """
    start = start_of(job)
    found = []
    if start.residency == "all":
        if max(job.request.count, job.repeat) > 1:  # the next image finds what draws it loaded
            found.append(Remedy(change={"residency": "drawing"}))
        found.append(Remedy(change={"residency": "sequential"}))
    mapped = Remedy(change={"memory": "lean"})
    if start.memory == "auto" and job.backend.name in _MAPPED_AT_NO_COST:
        found.append(mapped)
    if _guides_in_one_call(job, manifest):
        found.append(Remedy(change={"guidance_batch": 1}, phases=_DENOISING))
    tiles = _tiles(job, manifest)
    found += [Remedy(change={"decode_tile": tile}, phases=_DECODING) for tile in tiles]
    if start.residency == "all" and any(_PART.fullmatch(file.path) for file in manifest.files):
        found.append(Remedy(change={"residency": "parts"}, phases=_IN_PARTS))
    if start.memory == "auto" and mapped not in found:
        found.append(mapped)
    return tuple(found)


def fitting_plan(
    job: GenerateJob,
    manifest: PackageManifest,
    limit_bytes: int,
    draw: Draw,
    *,
    place: str,
    say: Callable[[str], None] | None = None,
) -> Fitting:
    """Return a plan that keeps within a limit, and what it takes.

    One that doesn't gets the cheapest remedy for the phase in which it took most, until one does.
    `place` tells packages, machines and runtimes apart, for what is kept of them. Raises
    OutOfMemoryError with the least that can be reached, where no plan keeps within the limit.
    """
    trials = _Trials(job, draw, _kept_as(job, place), say)
    left = list(remedies(job, manifest))
    leanest = start_of(job)
    for remedy in left:
        leanest = replace(leanest, **remedy.change)
    plan = start_of(job)
    while True:
        known = trials.of(plan, limit_bytes)
        if known.peak_bytes is not None and known.peak_bytes <= limit_bytes * _MARGIN:
            return Fitting(plan=plan, peak_bytes=known.peak_bytes)
        helping = next((it for it in left if it.helps(known.phase)), None)
        if helping is None:
            break
        left.remove(helping)
        plan = replace(plan, **helping.change)
    trials.of(leanest, None)
    least = trials.least()
    if least.peak_bytes <= limit_bytes * _MARGIN:
        return least
    raise OutOfMemoryError(
        f"No way to draw this keeps within {format_bytes(limit_bytes)}: the least is "
        f"{format_bytes(least.peak_bytes)} ({least.plan.words}).",
        hint=f"Give --max-memory {math.ceil(least.peak_bytes / _MARGIN / 1e6)}MB, or so much in "
        "a profile (memory_limit_bytes), a smaller image, or a package with fewer bits (int8).",
    )


class _Trials:
    """What plans were found to take, now and before."""

    def __init__(
        self, job: GenerateJob, draw: Draw, kept: Path, say: Callable[[str], None] | None
    ) -> None:
        self._job, self._draw, self._kept, self._say = job, draw, kept, say
        findings = remembered(Findings, kept) or Findings()
        self._found = {known.plan: known for known in findings.known}

    def of(self, plan: MemoryPlan, limit_bytes: int | None) -> Known:
        """Return what a plan takes, or that it takes more than a limit; without one, the former."""
        known = self._found.get(plan) or Known(plan=plan)
        if known.peak_bytes is None and (limit_bytes is None or known.above_bytes < limit_bytes):
            known = self._found[plan] = _measured(self._job, plan, limit_bytes, self._draw)
            remember(self._kept, Findings(known=tuple(self._found.values())))
            if self._say is not None:
                self._say(_told(known))
        return known

    def least(self) -> Fitting:
        """Return the plan that took least; near a limit one may take less than without it."""
        known = [
            Fitting(plan=it.plan, peak_bytes=it.peak_bytes)
            for it in self._found.values()
            if it.peak_bytes is not None
        ]
        return min(known, key=lambda it: it.peak_bytes)


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
    except OutOfMemoryError as error:
        if limit_bytes is None:
            raise
        return Known(plan=plan, above_bytes=limit_bytes, phase=error.phase)
    if peak.pss_bytes is None:
        raise ConfigError(
            "This device doesn't tell how much memory a process takes.",
            hint="Leave --max-memory out.",
        )
    return Known(plan=plan, peak_bytes=peak.pss_bytes, phase=peak.phase)


_WORDS = {
    "load": "while loading",
    "text_encoder": "in the text encoder",
    "denoise": "in the denoiser",
    "vae_decoder": "in the decoder",
}


def _told(known: Known) -> str:
    where = "" if known.phase is None else f" {_WORDS.get(known.phase, known.phase)}"
    if known.peak_bytes is None:
        return f"{known.plan.words}: more than {format_bytes(known.above_bytes)}{where}"
    return f"{known.plan.words}: {format_bytes(known.peak_bytes)}, most{where}"


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
    return place_of("memory", facts)
