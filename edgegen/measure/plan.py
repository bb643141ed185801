"""Plans a benchmark: what will run, and on what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgegen_runner.generation import PICTURE_NAMES, PICTURES

from edgegen.builtin.models import BUILTIN_MODELS
from edgegen.core.codec import load_python_json_object
from edgegen.core.errors import ConfigError, IntegrityError
from edgegen.core.files import inside, sha256_of
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import (
    MemoryMode,
    PackageIdentity,
    Residency,
    Workload,
)
from edgegen.core.package import MANIFEST_NAME, Compiled, PackageManifest
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import ArithmeticWish
from edgegen.measure.estimate import estimate_s
from edgegen.measure.jobs import CONTROL
from edgegen.measure.planned_run import PlannedRun

DEFAULT_PROMPT = "a photograph of an astronaut riding a horse"
"""For a model of which nothing better is known."""

QUICK_IMAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """What the user wants; None means the package's own value.

    All else is as `edgegen run` does it, because that is what is to be measured.
    `images` are the steady images of all restarts together. `quick` takes one restart of few
    images and leaves out the memory run. With `sustained_s` one process makes images for that long
    instead, on a device that has cooled down; `start_c` is the temperature to wait for. `profile`
    takes the place of the one that fits the device. `loras` names what `lora`, a file of
    `lora_for`, has for the package's layers.
    """

    images: int = 12
    restarts: int = 3
    prompt: str | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int = 0
    scheduler: str | None = None
    loras: tuple[str, ...] = ()
    lora: Path | None = None
    width: int | None = None
    height: int | None = None
    threads: int | None = None
    providers: tuple[str, ...] = ()
    runtime: str | None = None
    profile: DeviceProfile | None = None
    residency: Residency = "all"
    memory: MemoryMode = "auto"
    arithmetic: ArithmeticWish | None = None
    max_memory_bytes: int | None = None
    quick: bool = False
    sustained_s: float | None = None
    start_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What a benchmark will do. `estimated_s` is rough: right within a factor of three or so.

    `scheduler`, `runtime`, `profile` and `arithmetic` are what was asked for, None where it was
    not. `files` are the package's, relative to it, and `pictures` those of them that images start
    from, by what the runner calls them (`image`, `mask`). `class_label` is the first where there
    are classes of images: all take as long. `lora` is a file of this machine, for layers that take
    one. `runs_as` is what the package's runtimes are found by. `estimated_s` is for this machine.
    """

    package: Path
    identity: PackageIdentity
    workload: Workload
    runs: tuple[PlannedRun, ...]
    files: tuple[str, ...]
    pictures: Mapping[str, str] = field(default_factory=dict)
    class_label: int | None = None
    lora: Path | None = None
    scheduler: str | None = None
    runtime: str | None = None
    profile: DeviceProfile | None = None
    arithmetic: ArithmeticWish | None = None
    runs_as: str
    compiled: tuple[Compiled, ...] = ()
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
        runs_as=manifest.runs_as,
        compiled=manifest.compiled,
        workload=workload,
        runs=runs,
        files=tuple(artifact.path for artifact in manifest.files),
        pictures=_pictures(manifest),
        class_label=None if manifest.generation.classes is None else 0,
        lora=settings.lora,
        scheduler=settings.scheduler,
        runtime=settings.runtime,
        profile=settings.profile,
        arithmetic=settings.arithmetic,
        estimated_s=estimate_s(manifest, workload, runs, package_bytes),
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
        guidance_start=generation.guidance_start,
        guidance_stop=generation.guidance_stop,
        cache_interval=generation.cache_interval,
        decode_tile=generation.decode_tile,
        seed=settings.seed,
        scheduler=settings.scheduler or _own_scheduler(package, manifest),
        loras=settings.loras,
        providers=settings.providers,
        threads=settings.threads,
        residency=settings.residency,
        memory=settings.memory,
        max_memory_bytes=settings.max_memory_bytes,
    )


def _pictures(manifest: PackageManifest) -> dict[str, str]:
    """Return the golden case's pictures, from which images start or which steer them.

    Raises ConfigError where the package has none.
    """
    facts = manifest.facts
    folder = "" if manifest.golden is None else manifest.golden.folder
    wanted = {f"{CONTROL}{it}": f"{folder}/{CONTROL}{it}.png" for it in range(facts.controls)}
    if facts.needs_picture:
        wanted |= {name: f"{folder}/{PICTURE_NAMES[name]}" for name in PICTURES[facts.starts[0]]}
    if facts.takes_picture_prompt:
        wanted["picture_prompt"] = f"{folder}/{PICTURE_NAMES['picture_prompt']}"
    there = {artifact.path for artifact in manifest.files}
    if not there.issuperset(wanted.values()):
        raise ConfigError(
            f"This package ({manifest.family}) draws from pictures, and has none of a golden case.",
            hint="Build it again, with parity.",
        )
    return wanted


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
