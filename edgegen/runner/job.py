"""What the runner is asked to do; `device_runners/protocol.schema.json` says what each key means.

None means: the runner's or the package's own value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgegen_runner.runtimes import DEFAULT

from edgegen.core.codec import encode
from edgegen.core.recipe import Arithmetic

Residency = Literal["all", "drawing", "sequential", "parts"]
PromptSyntax = Literal["plain", "a1111", "compel"]
MemoryMode = Literal["auto", "lean", "fast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to draw; image i of a prompt has the seed `seed + i`."""

    prompts: tuple[str, ...] | None = None
    negative_prompt: str | None = None
    steps: int | None = None
    guidance: float | None = None
    guidance_start: float | None = None
    guidance_stop: float | None = None
    cache_interval: int | None = None
    guidance_rescale: float | None = None
    guidance_batch: Literal[1, 2] | None = None
    eta: float | None = None
    scheduler: str | None = None
    seed: int = 0
    count: int = 1
    width: int | None = None
    height: int | None = None
    image: str | None = None
    mask: str | None = None
    depth: str | None = None
    strength: float | None = None
    image_guidance: float | None = None
    noise_level: int | None = None
    class_label: int | None = None
    latents: str | None = None
    prompt_syntax: PromptSyntax | None = None
    clip_skip: int | None = None
    control: tuple[str, ...] | None = None
    control_scale: tuple[float, ...] | None = None
    control_start: tuple[float, ...] | None = None
    control_end: tuple[float, ...] | None = None
    guess_mode: bool = False
    lora: str | None = None
    picture_prompt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Which runtime computes, and how; no providers means the processor alone.

    `name` is one of the runner's backends; `backend_choice` takes it from the package's target.
    `optimized` is the folder where it keeps graphs that it has optimized; see `optimized_folder`.
    `chip` is the one whose contexts it loads, of a package that was compiled for several.
    """

    name: str = DEFAULT.name
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    memory: MemoryMode | None = None
    optimized: str | None = None
    arithmetic: Arithmetic | None = None
    chip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensors:
    """How often the sensors are read."""

    interval_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateJob:
    """Make images: warm-ups first, then the prompts, `repeat` times or for `duration_s`.

    Without `output` no image is written.
    """

    command: Literal["generate"] = "generate"
    package: str
    request: Request = field(default_factory=Request)
    output: str | None = None
    file_names: tuple[str, ...] | None = None
    save_trajectory: str | None = None
    residency: Residency = "all"
    warmup_images: int = 0
    repeat: int = 1
    duration_s: float | None = None
    backend: Backend = field(default_factory=Backend)
    sensors: Sensors | None = None
    measure_memory: bool = False
    max_memory_bytes: int | None = None
    decode_tile: int | None = None
    verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """Run one component on the `<input>.npy` of a folder; write `<output>.npy` to another."""

    command: Literal["probe"] = "probe"
    package: str
    component: str
    inputs: str
    outputs: str
    lora: str | None = None
    backend: Backend = field(default_factory=Backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenJob:
    """Run the package's golden case and compare."""

    command: Literal["golden"] = "golden"
    package: str
    residency: Residency = "all"
    backend: Backend = field(default_factory=Backend)
    verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeJob:
    """Say what the machine is."""

    command: Literal["describe"] = "describe"
    backend: Backend = field(default_factory=Backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesJob:
    """Do several jobs, which have the same backend, one after the other in one process."""

    command: Literal["series"] = "series"
    jobs: tuple[GenerateJob | ProbeJob | GoldenJob, ...]

    @property
    def backend(self) -> Backend:
        """Return the backend of them all."""
        return self.jobs[0].backend


Job = GenerateJob | ProbeJob | GoldenJob | DescribeJob | SeriesJob


def absolute(path: Path | None) -> str | None:
    """Return a path as a job holds it, whatever folder the runner starts in."""
    return None if path is None else str(path.absolute())


def job_line(job: Job | Mapping[str, Any]) -> str:
    """Return a job as the one line that the runner reads."""
    return json.dumps(encode(job), ensure_ascii=True, allow_nan=False)
