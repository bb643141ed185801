"""What the runner is asked to do, read strictly: an unknown key is an error that names it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional, Union

from .arithmetic import ARITHMETICS
from .backends import BackendOptions
from .errors import RunnerFailure, shortened
from .request import (
    HIGHEST_SEED,
    LONGEST_SIDE,
    MOST_BYTES,
    MOST_CLASSES,
    MOST_IMAGES,
    MOST_LAYERS,
    MOST_NOISE_LEVEL,
    MOST_STEPS,
    MOST_THREADS,
    RESIDENCIES,
    SHORTEST_INTERVAL_S,
    SMALLEST_TILE,
    STRONGEST_CONTROL,
    SYNTAXES,
    Request,
)
from .runtimes import DEFAULT
from .table import Table, is_file_name, parse_json


@dataclass(frozen=True)
class GenerateJob:
    """Make images: warm-ups, then the prompts, ``repeat`` times or for ``duration_s``.

    A process that takes more than ``max_memory_bytes`` ends. Pictures are decoded in tiles of
    ``decode_tile`` latents a side, None: as the package says.
    """

    package: Path
    request: Request = field(default_factory=Request)
    output: Optional[Path] = None
    file_names: Optional[tuple[str, ...]] = None
    save_trajectory: Optional[Path] = None
    residency: str = "all"
    warmup_images: int = 0
    repeat: int = 1
    duration_s: Optional[float] = None
    backend: BackendOptions = field(default_factory=BackendOptions)
    sensor_interval_s: Optional[float] = None
    measure_memory: bool = False
    max_memory_bytes: Optional[int] = None
    decode_tile: Optional[int] = None
    verify: bool = False


@dataclass(frozen=True)
class ProbeJob:
    """Run one component on ``.npy`` files, with a ``lora`` as `edgegen_runner.lora` reads it."""

    package: Path
    component: str
    inputs: Path
    outputs: Path
    lora: Optional[Path] = None
    backend: BackendOptions = field(default_factory=BackendOptions)


@dataclass(frozen=True)
class GoldenJob:
    """Run the package's golden case."""

    package: Path
    residency: str = "all"
    backend: BackendOptions = field(default_factory=BackendOptions)
    verify: bool = False


@dataclass(frozen=True)
class DescribeJob:
    """Say what this machine is."""

    backend: BackendOptions = field(default_factory=BackendOptions)


PartJob = Union[GenerateJob, ProbeJob, GoldenJob]


@dataclass(frozen=True)
class SeriesJob:
    """Do several jobs one after the other, in a process that has loaded the runtime once."""

    jobs: tuple[PartJob, ...]

    @property
    def backend(self) -> BackendOptions:
        """Return the runtime, which is the same for all of them."""
        return self.jobs[0].backend


Job = Union[PartJob, DescribeJob, SeriesJob]


_PARTS = ("generate", "probe", "golden")
_MOST_PARTS = 1000


def parse_job(line: bytes) -> Job:
    """Read a job from one line of JSON.

    Raises RunnerFailure (bad-request) that names the key which is unknown, missing or wrong.
    """
    try:
        data = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise RunnerFailure("bad-request", f"The job is not JSON: {error}.") from error
    if not isinstance(data, dict):
        raise RunnerFailure("bad-request", "The job is no JSON object.")
    job = Table(data, "the job", "bad-request")
    command = job.choice("command", (*_PARTS, "describe", "series"))
    if command == "series":
        return _read_series(job)
    if command != "describe":
        return _read_part(job, command)
    result = DescribeJob(backend=_read_backend(job))
    job.done()
    return result


def _read_series(series: Table) -> SeriesJob:
    jobs = tuple(
        _read_part(job, job.choice("command", _PARTS))
        for job in series.tables("jobs", most=_MOST_PARTS)
    )
    series.done()
    if not jobs or any(job.backend != jobs[0].backend for job in jobs):
        raise RunnerFailure("bad-request", "A series is of jobs that have one backend.")
    return SeriesJob(jobs)


def _read_part(job: Table, command: str) -> PartJob:
    if command == "generate":
        return _read_generate(job)
    result: PartJob
    if command == "probe":
        result = ProbeJob(
            package=job.path("package"),
            component=job.text("component"),
            inputs=job.path("inputs"),
            outputs=job.path("outputs"),
            lora=job.optional_path("lora"),
            backend=_read_backend(job),
        )
    else:
        result = GoldenJob(
            package=job.path("package"),
            residency=job.choice("residency", RESIDENCIES, "all"),
            backend=_read_backend(job),
            verify=job.truth("verify"),
        )
    job.done()
    return result


def _read_generate(job: Table) -> GenerateJob:
    sensors = job.optional_table("sensors")
    interval_s = None
    if sensors is not None:
        interval_s = sensors.number("interval_s", 1.0, least=SHORTEST_INTERVAL_S)
        sensors.done()
    result = GenerateJob(
        package=job.path("package"),
        request=_read_request(job.table("request", {})),
        output=job.optional_path("output"),
        file_names=job.texts("file_names"),
        save_trajectory=job.optional_path("save_trajectory"),
        residency=job.choice("residency", RESIDENCIES, "all"),
        warmup_images=job.whole("warmup_images", 0, least=0, most=MOST_IMAGES),
        repeat=job.whole("repeat", 1, least=1, most=MOST_IMAGES),
        duration_s=job.optional_number("duration_s", above=0),
        backend=_read_backend(job),
        sensor_interval_s=interval_s,
        measure_memory=job.truth("measure_memory"),
        max_memory_bytes=job.optional_whole("max_memory_bytes", least=1, most=MOST_BYTES),
        decode_tile=job.optional_whole("decode_tile", least=SMALLEST_TILE, most=LONGEST_SIDE),
        verify=job.truth("verify"),
    )
    job.done()
    for name in result.file_names or ():
        if not is_file_name(name):
            raise RunnerFailure("bad-request", f"{shortened(name)} is no plain file name.")
    return result


def _read_request(table: Table) -> Request:
    request = Request(
        prompts=table.texts("prompts"),
        negative_prompt=table.optional_text("negative_prompt"),
        steps=table.optional_whole("steps", least=1, most=MOST_STEPS),
        guidance=table.optional_number("guidance"),
        guidance_start=table.optional_number("guidance_start", least=0, most=1),
        guidance_stop=table.optional_number("guidance_stop", least=0, most=1),
        cache_interval=table.optional_whole("cache_interval", least=1, most=MOST_STEPS),
        guidance_rescale=table.number("guidance_rescale", 0.0, least=0, most=1),
        guidance_batch=table.whole("guidance_batch", 2, least=1, most=2),
        eta=table.number("eta", 0.0, least=0),
        scheduler=table.optional_text("scheduler"),
        seed=table.whole("seed", 0, least=0, most=HIGHEST_SEED),
        count=table.whole("count", 1, least=1, most=MOST_IMAGES),
        width=table.optional_whole("width", least=1, most=LONGEST_SIDE),
        height=table.optional_whole("height", least=1, most=LONGEST_SIDE),
        image=table.optional_path("image"),
        mask=table.optional_path("mask"),
        depth=table.optional_path("depth"),
        strength=table.optional_number("strength", least=0, most=1),
        image_guidance=table.optional_number("image_guidance", least=1),
        noise_level=table.optional_whole("noise_level", least=0, most=MOST_NOISE_LEVEL),
        class_label=table.optional_whole("class_label", least=0, most=MOST_CLASSES),
        latents=table.optional_path("latents"),
        prompt_syntax=table.optional_choice("prompt_syntax", SYNTAXES),
        clip_skip=table.optional_whole("clip_skip", least=0, most=MOST_LAYERS),
        control=table.paths("control"),
        control_scale=table.numbers(
            "control_scale", least=-STRONGEST_CONTROL, most=STRONGEST_CONTROL
        ),
        control_start=table.numbers("control_start", least=0, most=1),
        control_end=table.numbers("control_end", least=0, most=1),
        guess_mode=table.truth("guess_mode"),
        lora=table.optional_path("lora"),
        picture_prompt=table.optional_path("picture_prompt"),
    )
    table.done()
    return request


def _read_backend(job: Table) -> BackendOptions:
    table = job.table("backend", {})
    options = BackendOptions(
        name=table.text("name", DEFAULT.name),
        providers=table.texts("providers") or (),
        threads=table.optional_whole("threads", least=1, most=MOST_THREADS),
        memory=table.choice("memory", ("auto", "lean", "fast"), "auto"),
        optimized=table.optional_path("optimized"),
        arithmetic=table.optional_choice("arithmetic", ARITHMETICS),
        chip=table.optional_text("chip"),
    )
    table.done()
    return options
