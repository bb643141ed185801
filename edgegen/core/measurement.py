"""What was measured of a package on one device: raw samples, and everything needed to judge them.

Nothing here is averaged. Times are seconds on the runner's monotonic clock, counted from the
runner's first event (`hello`) of each run. What a device could not say is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgegen.core.plausible import (
    LONGEST_S,
    check_bytes,
    check_count,
    check_span,
    check_time,
    check_value,
)
from edgegen.core.recipe import Arithmetic
from edgegen.core.units import steps_text

SCHEMA_VERSION = 1

RunKind = Literal["golden", "cold", "steady", "sustained", "memory"]
Residency = Literal["all", "drawing", "sequential", "parts"]
MemoryMode = Literal["auto", "fast", "lean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageIdentity:
    """Which package was measured: the hash of its manifest says it exactly, the rest readably."""

    manifest_sha256: str
    model: str
    revision: str | None = None
    weights_sha256: str
    family: str
    target: str
    recipe: str
    profile: str | None = None
    package_bytes: int

    def __post_init__(self) -> None:
        check_bytes(self.package_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was made, and how: the same workload is needed to compare two measurements.

    `arithmetic` is the type in which the runtime was to compute, None for the recipe's own. With a
    `guidance_batch` of 1 guidance was in two calls, `decode_tile` is the side of the tiles in which
    pictures were decoded, in latents, and `max_memory_bytes` the limit that both were taken for.
    `loras` are those that the package was given, as `name:scale (first digits of its hash)`.
    """

    prompt: str | None = None
    negative_prompt: str | None = None
    width: int
    height: int
    steps: int
    guidance: float
    guidance_start: float = 0.0
    guidance_stop: float = 1.0
    cache_interval: int = 1
    seed: int
    scheduler: str
    loras: tuple[str, ...] = ()
    providers: tuple[str, ...]
    threads: int | None = None
    residency: Residency = "all"
    memory: MemoryMode = "auto"
    arithmetic: Arithmetic | None = None
    guidance_batch: Literal[1, 2] | None = None
    decode_tile: int | None = None
    max_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        check_count(self.width, self.height, self.steps, self.cache_interval, self.threads)
        check_value("guidance", self.guidance)
        check_value("guidance_start", self.guidance_start)
        check_value("guidance_stop", self.guidance_stop)

    @property
    def drawn(self) -> str:
        """Return how much is computed: `25 steps`, or `25 steps, all layers in one of 3`."""
        with_loras = "".join(f", with {lora}" for lora in self.loras)
        return steps_text(self.steps, self.cache_interval) + with_loras


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The device at the start of the measurement.

    `hypervisor` names the virtual machine's host where there is one; `virtual_machine` is None
    where the device could not say. `emulated` is another processor played in software: its
    latencies mean nothing. `load_average` is the mean number of runnable processes over 1, 5 and
    15 minutes before the start. `started_at` is UTC, ISO 8601. `device` is the address, `model`
    what the device calls itself, `profile` the device profile that matches it. `cpu_quota` is how
    many cores' time its control groups allow, `memory_limit_bytes` what they allow of its memory.
    `limits` are the readings at the start that say whether it is held back, as in a
    `SensorSample`; `silent` are tools that do not answer there, each with the reason.
    """

    device: str
    machine: str
    model: str | None = None
    profile: str | None = None
    operating_system: str
    processor: str | None = None
    cores: int | None = None
    cpu_quota: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    governor: str | None = None
    virtual_machine: bool | None = None
    hypervisor: str | None = None
    emulated: bool = False
    load_average: tuple[float, float, float] | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    started_at: str

    def __post_init__(self) -> None:
        check_bytes(self.memory_bytes, self.memory_limit_bytes)
        for name, value in self.limits.items():
            check_value(name, value)
        for load in (*(self.load_average or ()), self.cores, self.cpu_quota):
            check_value("cores", load)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A component was opened. `providers` and `arithmetic` are those that it really got."""

    component: str
    start_s: float
    end_s: float
    providers: tuple[str, ...]
    arithmetic: Arithmetic | None = None

    def __post_init__(self) -> None:
        check_span(self.start_s, self.end_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of an image. `runtime_s` is the time inside the runtime's own calls."""

    name: str
    start_s: float
    end_s: float
    runtime_s: float | None = None

    def __post_init__(self) -> None:
        check_span(self.start_s, self.end_s)
        check_time(self.runtime_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the denoising loop."""

    index: int
    timestep: float
    start_s: float
    end_s: float
    runtime_s: float | None = None

    def __post_init__(self) -> None:
        check_span(self.start_s, self.end_s)
        check_time(self.runtime_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSample:
    """One image: text, all steps, decode; the PNG file is not in its time.

    `warmup` images (the first of each process) are kept, and kept apart. `load_s` is what loading
    components took of the time (residency `sequential`). `sha256` is that of the raw 8-bit pixels.
    """

    index: int
    seed: int
    warmup: bool
    start_s: float
    end_s: float
    load_s: float = 0.0
    runtime_s: float | None = None
    sha256: str | None = None
    phases: tuple[Phase, ...] = ()
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        check_span(self.start_s, self.end_s)
        check_time(self.load_s)
        check_time(self.runtime_s)

    @property
    def latency_s(self) -> float:
        """Return the seconds from the prompt to the pixels."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSample:
    """What the sensors said at one moment; None where one gave no answer then.

    `cost_s` is the time that reading them took.
    """

    time_s: float
    values: Mapping[str, float | None]
    cost_s: float | None = None

    def __post_init__(self) -> None:
        check_time(self.time_s, least_s=-LONGEST_S)
        check_time(self.cost_s)
        for name, value in self.values.items():
            check_value(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPeak:
    """The runner's memory, each figure at its own highest.

    `peak_pss_bytes` is the highest sum of PSS over the process tree, file pages included;
    `peak_anonymous_bytes` the part that no file backs; `peak_resident_bytes` the process's own
    resident set; `read_bytes` what was read from storage. `peak_gpu_bytes` is memory that a driver
    shared with the GPU gave this process, where the driver tells (a Jetson's nvmap): it is in no
    PSS. `processes` is the most processes that the tree had.
    """

    peak_pss_bytes: int | None = None
    peak_anonymous_bytes: int | None = None
    peak_file_bytes: int | None = None
    peak_resident_bytes: int | None = None
    read_bytes: int | None = None
    peak_gpu_bytes: int | None = None
    processes: int | None = None

    def __post_init__(self) -> None:
        check_bytes(
            self.peak_pss_bytes,
            self.peak_anonymous_bytes,
            self.peak_file_bytes,
            self.peak_resident_bytes,
            self.read_bytes,
            self.peak_gpu_bytes,
            self.processes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCache:
    """How much of the package's files lay in memory before a run.

    `resident_bytes` is None where the system does not say. A load is cold only where `is_cold`.
    """

    file_bytes: int
    resident_bytes: int | None = None
    how: str

    def __post_init__(self) -> None:
        check_bytes(self.file_bytes, self.resident_bytes)

    @property
    def is_cold(self) -> bool:
        """Return whether at most one hundredth of the files was in memory."""
        return self.resident_bytes is not None and self.resident_bytes * 100 <= self.file_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One process of the runner, from its start to its end.

    `started_s` counts from the start of the measurement; `launch_s` is the time from starting
    the process to its first event (interpreter and imports), the connection to a device left out.
    """

    kind: RunKind
    started_s: float
    launch_s: float
    loads: tuple[Load, ...]
    images: tuple[ImageSample, ...]
    sensors: tuple[SensorSample, ...] = ()
    memory: MemoryPeak | None = None
    page_cache: PageCache | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_time(self.started_s)
        check_time(self.launch_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """One comparison with the package's golden case, made on the device.

    `layer` is component, trajectory or image. `psnr_db` is None where both are equal, and, with
    `passed` false, where nothing could be measured. `why` says why it failed.
    """

    layer: str
    name: str
    psnr_db: float | None = None
    threshold_db: float
    passed: bool

    def __post_init__(self) -> None:
        check_value(self.name, self.psnr_db)
        check_value(self.name, self.threshold_db)

    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTemperature:
    """The wait for a start temperature, in degrees Celsius, on the sensor `sensor`.

    `first_c` is what the device had at first, `last_c` what it had when the measurement began.
    `wanted_c` is what was asked for; None is: until it no longer falls. `reached` says whether
    that came before the longest wait was over.
    """

    sensor: str
    first_c: float
    last_c: float
    wanted_c: float | None = None
    waited_s: float
    reached: bool

    def __post_init__(self) -> None:
        check_time(self.waited_s)
        for value in (self.first_c, self.last_c, self.wanted_c):
            check_value(self.sensor, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Everything that one session measured, raw.

    `golden` is empty where the package has no golden case. `unseen` lists what could not be seen
    on this device, each with the reason (`temperature: no thermal zone`). `interrupted` says what
    ended the measurement before its plan did; the last run then holds what was complete by then.
    """

    schema_version: int
    package: PackageIdentity
    workload: Workload
    environment: Environment
    runs: tuple[Run, ...]
    golden: tuple[GoldenCheck, ...] = ()
    unseen: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    quick: bool = False
    start_temperature: StartTemperature | None = None
    interrupted: str | None = None

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"schema_version is {self.schema_version}; this edgegen reads {SCHEMA_VERSION}"
            )

    def of_kind(self, kind: RunKind) -> tuple[Run, ...]:
        """Return the runs of one kind, in the order in which they ran."""
        return tuple(run for run in self.runs if run.kind == kind)
