"""Plans a benchmark: what will run, on what, and about how long it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import inside, sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import (
    MemoryMode,
    PackageIdentity,
    Residency,
    RunKind,
    Workload,
)
from edgegen.core.package import MANIFEST_NAME, PackageManifest
from edgegen.core.profile import DeviceProfile

DEFAULT_PROMPT = "a photograph of an astronaut riding a horse"
"""For a model of which nothing better is known."""

QUICK_IMAGES = 3
_LAUNCH_S = 1.0
_COLD_READ_BYTES_PER_S = 400e6
_WARM_READ_BYTES_PER_S = 2e9
# Floating-point operations for each parameter and latent pixel. SD 1.5 at 512 × 512: 0.8e12 for
# 860e6 parameters and 64 × 64 latents; SDXL at 1024 × 1024: 6.0e12 for 2.6e9 and 128 × 128. The
# decoder: 2.5e12 for 49.5e6 and 64 × 64.
_DENOISER_OPERATIONS = 0.2
_DECODER_OPERATIONS = 12.0
_SHARE_OF_MATMUL_SPEED = 0.5
_SECONDS_A_PARAMETER = 1e-9  # each call reads, and may convert, every weight


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What the user wants; None means the package's own value.

    All else is as `edgegen run` does it, because that is what is to be measured.
    `images` are the steady images of all restarts together. `quick` takes one restart of few
    images and leaves out the memory run. With `sustained_s` one process makes images for that long
    instead, on a device that has cooled down; `start_c` is the temperature to wait for. `profile`
    takes the place of the one that fits the device.
    """

    images: int = 12
    restarts: int = 3
    prompt: str | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    scheduler: str | None = None
    width: int | None = None
    height: int | None = None
    threads: int | None = None
    providers: tuple[str, ...] = ()
    runtime: str | None = None
    profile: DeviceProfile | None = None
    residency: Residency = "all"
    memory: MemoryMode = "auto"
    quick: bool = False
    sustained_s: float | None = None
    start_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One process of the runner that will be started."""

    kind: RunKind
    title: str
    images: int
    warmup_images: int = 0
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What a benchmark will do. `estimated_s` is rough: right within a factor of three or so.

    `scheduler`, `runtime` and `profile` are what was asked for, None where it was not. `files` are
    the package's, relative to it. `estimated_s` is for this machine.
    """

    package: Path
    identity: PackageIdentity
    workload: Workload
    runs: tuple[PlannedRun, ...]
    files: tuple[str, ...]
    scheduler: str | None = None
    runtime: str | None = None
    profile: DeviceProfile | None = None
    estimated_s: float
    quick: bool = False
    start_c: float | None = None

    @property
    def is_sustained(self) -> bool:
        """Return whether images are made for a time, not counted."""
        return any(run.duration_s is not None for run in self.runs)

    @property
    def cools_first(self) -> bool:
        """Return whether nothing is timed before the device has cooled down."""
        return self.is_sustained or self.start_c is not None

    @property
    def images(self) -> int:
        """Return how many images will be made, the golden one aside."""
        return sum(run.images + run.warmup_images for run in self.runs if run.kind != "golden")


def plan(package: Path, settings: BenchSettings) -> BenchPlan:
    """Plan the benchmark of a package; nothing is started, nothing is written.

    Raises ConfigError for settings that make no sense and a folder that isn't a package, and
    IntegrityError for a package that lacks a file.
    """
    _check(settings)
    manifest_path = package / MANIFEST_NAME
    manifest = load_manifest(package)
    files = tuple(inside(package, artifact.path) for artifact in manifest.files)
    for file in files:
        if not file.is_file():
            raise IntegrityError(
                f"{file} is missing, or no file.", hint="Copy or build the package again."
            )
    package_bytes = sum(artifact.size_bytes for artifact in manifest.files)
    identity = PackageIdentity(
        manifest_sha256=sha256_of(manifest_path),
        model=manifest.source.model,
        revision=manifest.source.revision,
        weights_sha256=manifest.source.weights_sha256,
        family=manifest.family,
        target=manifest.target,
        recipe=manifest.recipe.name,
        profile=manifest.profile,
        package_bytes=package_bytes + manifest_path.stat().st_size,
    )
    workload = _workload(package, manifest, settings)
    runs = _runs(manifest, settings)
    return BenchPlan(
        package=package,
        identity=identity,
        workload=workload,
        runs=runs,
        files=tuple(artifact.path for artifact in manifest.files),
        scheduler=settings.scheduler,
        runtime=settings.runtime,
        profile=settings.profile,
        estimated_s=_estimate_s(manifest, workload, runs, package_bytes),
        quick=settings.quick,
        start_c=settings.start_c,
    )


def _check(settings: BenchSettings) -> None:
    for name in ("images", "restarts", "steps", "width", "height", "threads"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}.", hint="Give 1 or more.")
    if settings.seed < 0:
        raise ConfigError(f"--seed is {settings.seed}.", hint="Give 0 or more.")


def _workload(package: Path, manifest: PackageManifest, settings: BenchSettings) -> Workload:
    generation = manifest.generation
    prompt = settings.prompt
    if manifest.facts.takes_text:
        prompt = _fitting_prompt(manifest) if prompt is None else prompt
    elif settings.prompt is not None or settings.negative_prompt is not None:
        raise ConfigError(
            "This package draws without a prompt.", hint="Leave out --prompt and --negative-prompt."
        )
    guidance = generation.guidance if settings.guidance is None else settings.guidance
    return Workload(
        prompt=prompt,
        negative_prompt=settings.negative_prompt,
        width=settings.width or generation.width,
        height=settings.height or generation.height,
        steps=settings.steps or generation.steps,
        guidance=guidance,
        seed=settings.seed,
        scheduler=settings.scheduler or _own_scheduler(package, manifest),
        providers=settings.providers,
        threads=settings.threads,
        residency=settings.residency,
        memory=settings.memory,
    )


def _fitting_prompt(manifest: PackageManifest) -> str:
    """Return something that the model can draw: its card's prompt, or the golden case's."""
    builtin = BUILTIN_MODELS.get(manifest.source.model)
    if builtin is not None:
        return builtin.prompt
    golden = manifest.golden
    return DEFAULT_PROMPT if golden is None or golden.prompt is None else golden.prompt


def _own_scheduler(package: Path, manifest: PackageManifest) -> str:
    if manifest.scheduler is not None:
        return manifest.scheduler.class_name
    config = load_python_json_object(package / "scheduler" / "scheduler_config.json")
    return str(config.get("_class_name", "unknown"))


def _runs(manifest: PackageManifest, settings: BenchSettings) -> tuple[PlannedRun, ...]:
    restarts = 1 if settings.quick else settings.restarts
    images = min(settings.images, QUICK_IMAGES) if settings.quick else settings.images
    each = math.ceil(images / restarts)
    runs = []
    if manifest.golden is not None:
        runs.append(PlannedRun(kind="golden", title="golden case", images=1))
    runs.append(PlannedRun(kind="cold", title="cold load and first image", images=1))
    if settings.sustained_s is not None:
        sustained = PlannedRun(
            kind="sustained",
            title="sustained images",
            images=1,
            warmup_images=1,
            duration_s=settings.sustained_s,
        )
        return (*runs, sustained)
    runs += [
        PlannedRun(
            kind="steady",
            title=f"steady images, process {i + 1} of {restarts}",
            images=each,
            warmup_images=1,
        )
        for i in range(restarts)
    ]
    if not settings.quick:
        runs.append(PlannedRun(kind="memory", title="memory", images=1))
    return tuple(runs)


def _estimate_s(
    manifest: PackageManifest,
    workload: Workload,
    runs: tuple[PlannedRun, ...],
    package_bytes: int,
) -> float:
    """Estimate the whole time from the sizes of the components and a multiplication timed here."""
    speed = _matmul_operations_per_s() * _SHARE_OF_MATMUL_SPEED
    total_s = 0.0
    for run in runs:
        if run.kind == "golden" and manifest.golden is not None:
            case = manifest.golden
            image_s = _image_s(manifest, speed, case.width, case.height, case.steps, case.guidance)
        else:
            image_s = _image_s(
                manifest,
                speed,
                workload.width,
                workload.height,
                workload.steps,
                workload.guidance,
            )
        rate = _COLD_READ_BYTES_PER_S if run.kind == "cold" else _WARM_READ_BYTES_PER_S
        images_s = (run.images + run.warmup_images) * image_s
        if run.duration_s is not None:
            images_s = run.warmup_images * image_s + max(run.duration_s, image_s)
        total_s += _LAUNCH_S + images_s + package_bytes / rate
    return total_s


def _image_s(
    manifest: PackageManifest, speed: float, width: int, height: int, steps: int, guidance: float
) -> float:
    generation = manifest.generation
    latents = width * height / generation.vae_scale_factor**2
    guided = guidance > 1 and manifest.facts.guidance == "classifier-free"
    total_s = 0.0
    for component in (packaged.spec for packaged in manifest.components):
        calls = {"denoiser": steps, "encoder": 0}.get(component.role, 1)
        operations = 0.0  # a text encoder's do not count beside the denoiser's
        if component.role == "denoiser":
            operations = _DENOISER_OPERATIONS * component.parameters * latents * (1 + guided)
        elif component.role == "decoder":
            operations = _DECODER_OPERATIONS * component.parameters * latents
        total_s += calls * (operations / speed + component.parameters * _SECONDS_A_PARAMETER)
    return total_s


def _matmul_operations_per_s(size: int = 384, least_s: float = 0.05) -> float:
    """Time single-precision matrix products until `least_s` is over; the fastest one counts."""
    import numpy as np

    matrix = np.ones((size, size), np.float32)
    best_s, until = math.inf, time.perf_counter() + least_s
    while time.perf_counter() < until:
        started = time.perf_counter()
        matrix @ matrix
        best_s = min(best_s, time.perf_counter() - started)
    return 2 * size**3 / best_s
