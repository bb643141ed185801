"""The host's end of the protocol: each line of the runner becomes a frozen value, or an error.

The fields are those of `device_runners/protocol.schema.json`. Times are seconds of the runner's own
monotonic clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.codec import decode
from edgegen.core.errors import ConfigError, RunnerError
from edgegen.core.recipe import Arithmetic

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The runtime that was imported, the providers that it has, and the types that it computes in.

    The latter are for what a graph gives in float32.
    """

    name: str
    version: str
    providers: tuple[str, ...]
    arithmetics: tuple[Arithmetic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The machine."""

    system: str
    release: str
    machine: str
    cpu: str | None
    cores: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The runner is up; its own code began at `started`, its process at `process`, if known."""

    t: float
    schema: int
    runner_version: str
    python: str
    numpy: str
    runtime: Runtime
    platform: Platform
    pid: int
    started: float
    process: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A component is loaded; `providers` are those that it really uses, as is `arithmetic`."""

    t: float
    component: str
    start: float
    end: float
    providers: tuple[str, ...]
    arithmetic: Arithmetic | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """A component was given back."""

    t: float
    component: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStart:
    """An image begins."""

    t: float
    index: int
    seed: int
    prompt: str | None
    warmup: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of an image is done; `runtime_s` of it was spent inside the runtime."""

    t: float
    image: int
    name: Literal["text_encoder", "denoise", "vae_decoder", "vae_encoder"]
    start: float
    end: float
    runtime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of the denoising loop is done."""

    t: float
    image: int
    index: int
    of: int
    timestep: float
    start: float
    end: float
    runtime_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.of:
            raise ValueError(f"step {self.index} of {self.of}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEnd:
    """An image is done; of its time, `load_s` went into loading components."""

    t: float
    image: int
    start: float
    end: float
    load_s: float
    runtime_s: float
    width: int
    height: int
    path: str | None
    sha256: str

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.width} × {self.height} pixels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the sensors said; None where one did not answer. Reading them took `cost_s`."""

    t: float
    values: Mapping[str, float | None]
    cost_s: float | None = None

    def __post_init__(self) -> None:
        if len(self.values) > _MOST_SENSORS or any(
            len(name) > _LONGEST_SENSOR for name in self.values
        ):
            raise ValueError(f"{len(self.values)} sensors, or names that are no sensor's")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of the runner and its children at its highest; each figure by itself.

    `peak_phase` is what was done when the sum of PSS was highest: `load`, or a phase of an image.
    """

    t: float
    peak_pss_bytes: int | None
    peak_anonymous_bytes: int | None
    peak_file_bytes: int | None
    peak_resident_bytes: int | None
    read_bytes: int | None
    peak_gpu_bytes: int | None = None
    processes: int | None = None
    peak_phase: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An output of a component was written."""

    t: float
    component: str
    output: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A comparison of the golden case; `why` is empty where it passed."""

    t: float
    layer: Literal["component", "trajectory", "image"]
    name: str
    psnr_db: float | None
    threshold_db: float
    max_abs_error: float | None
    passed: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A job of a series is done; the process has taken `cpu_s` until here."""

    t: float
    index: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """Something that the user should know."""

    t: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The job failed; `phase` is what was done where memory ran out, as in `Memory`."""

    t: float
    kind: str
    message: str
    hint: str
    phase: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The job succeeded."""

    t: float


Event = (
    Hello
    | Load
    | Free
    | ImageStart
    | Phase
    | Step
    | ImageEnd
    | Sample
    | Memory
    | Probe
    | Check
    | Part
    | Warn
    | Error
    | Done
)

EVENTS: Mapping[str, type[Event]] = {
    "hello": Hello,
    "load": Load,
    "free": Free,
    "image_start": ImageStart,
    "phase": Phase,
    "step": Step,
    "image_end": ImageEnd,
    "sample": Sample,
    "memory": Memory,
    "probe": Probe,
    "check": Check,
    "part": Part,
    "warning": Warn,
    "error": Error,
    "done": Done,
}
"""The protocol's name of each event."""

_HEAD = 120
_MOST_SENSORS = 1000
_LONGEST_SENSOR = 200


def parse_line(line: str) -> tuple[dict[str, Any], Event]:
    """Return a line of the runner as a JSON object, and as the event that it is.

    Raises RunnerError, which shows the head of the line, for what is no event, for an unknown one,
    and for one with other fields.
    """
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _not_protocol(line) from error
    kind = EVENTS.get(str(data.get("event"))) if isinstance(data, dict) else None
    if kind is None:
        raise _not_protocol(line)
    fields = {key: value for key, value in data.items() if key != "event"}
    try:
        event = decode(kind, fields, source=f"the runner's event '{data['event']}'")
    except ConfigError as error:
        raise RunnerError(
            f"The runner does not keep to the protocol: {error.message}", hint=ANOTHER_VERSION
        ) from error
    if isinstance(event, Hello) and event.schema != SCHEMA:
        raise RunnerError(
            f"The runner speaks version {event.schema} of the protocol, edgegen {SCHEMA}.",
            hint=ANOTHER_VERSION,
        )
    return data, event


ANOTHER_VERSION = "The runner is of another edgegen; let this one pack and push its own."


def _not_protocol(line: str) -> RunnerError:
    head = line if len(line) <= _HEAD else line[:_HEAD] + "…"
    return RunnerError(
        f"The runner wrote something that is not its protocol: {head!r}.",
        hint="Something else prints there, or the runner is of another edgegen.",
    )
