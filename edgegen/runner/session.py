"""Runs one job in a process of the runner, on this machine or on a device."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.environment import RUNNER_ENVIRONMENT
from edgegen.core.errors import (
    ConfigError,
    EdgegenError,
    IntegrityError,
    MissingDependencyError,
    OutOfMemoryError,
    ResourceError,
    RunnerError,
)
from edgegen.core.process import Child, ProcessError, describe_exit, exit_signal
from edgegen.runner.ahead import RunnerAhead, program_of
from edgegen.runner.job import Backend, Job, job_line
from edgegen.runner.order import EventOrder
from edgegen.runner.protocol import (
    Done,
    Error,
    Event,
    Free,
    Hello,
    ImageEnd,
    ImageStart,
    Load,
    Memory,
    Phase,
    Sample,
    Step,
    parse_line,
)

if TYPE_CHECKING:
    from edgegen.devices.device import Device
    from edgegen.devices.facts import SystemState

_ERRORS: dict[str, type[EdgegenError]] = {
    "bad-request": ConfigError,
    "unsupported-scheduler": ConfigError,
    "unsupported-family": ConfigError,
    "bad-package": IntegrityError,
    "missing-runtime": MissingDependencyError,
    "memory": OutOfMemoryError,
    "disk": ResourceError,
}
"""What the runner's kinds of errors are here; the others are RunnerErrors."""

_FAILED_IMPORTS = ("missing-runtime", "internal")
_NATIVE_CRASHES = {signal.SIGILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}
_END_S = 30.0
_DEATH_S = 0.5
_SSH_LOST = 255  # what ssh and adb end with where the connection breaks in the middle of a line


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """An image that was made; `latency_s` is from the prompt to the pixels, loading left out.

    `arithmetic` is the type in which the runtime computed, of several components where they differ.
    `peak_memory_bytes` is the highest sum of PSS of the whole job, where it was measured, and
    `peak_phase` what was done then.
    """

    path: str | None
    prompt: str | None
    seed: int
    width: int
    height: int
    latency_s: float
    runtime_s: float
    sha256: str
    arithmetic: str | None = None
    peak_memory_bytes: int | None = None
    peak_phase: str | None = None


class RunnerSession:
    """One process of the runner for one job, on this machine or on a device that is connected.

    `cpu_s` is the processor time that it took here, once it has ended. `log` receives what the
    runner and its runtime write to standard error. `ahead` is one that was started before and
    waits: it is taken if it has the job's runtime. After `patience_s` without any progress (a load,
    a step, a phase) the runner is taken for hung.
    """

    def __init__(
        self,
        *,
        log: Path | None = None,
        python: str = sys.executable,
        device: Device | None = None,
        patience_s: float | None = None,
        ahead: RunnerAhead | None = None,
    ) -> None:
        self.cpu_s: float | None = None
        self._ahead = ahead
        self._log = log
        self._python = python
        self._device = device
        self._patience_s = patience_s
        self._before: SystemState | None = None
        self._doing = "before it said anything"

    def events(self, job: Job) -> Generator[Event]:
        """Yield the events of a job as they come; closing the generator ends the process.

        Raises the error that the runner tells, as the class that it is here, RunnerError where
        the runner dies, hangs or does not keep to its protocol, and DeviceError where the
        connection to its device breaks.
        """
        for _, event in self._follow(job):
            yield event

    def raw_events(self, job: Job | Mapping[str, Any]) -> Generator[dict[str, Any]]:
        """Yield what `events` yields, checked in the same way, as the JSON objects that came."""
        for data, _ in self._follow(job):
            yield data

    def _start(self, job: Job | Mapping[str, Any]) -> Child:
        if self._device is None:
            runtime = _runtime_of(job)
            if self._ahead is not None and self._ahead.runtime == runtime:
                waiting = self._ahead.take()
                if waiting is not None:
                    return waiting
            arguments = [self._python, *program_of(runtime)]
            return Child(arguments, log=self._log, env=RUNNER_ENVIRONMENT)
        if not self._device.is_local:
            self._before = self._device.state()
        return self._device.start_runner(log=self._log)

    def _follow(self, job: Job | Mapping[str, Any]) -> Generator[tuple[dict[str, Any], Event]]:
        with self._start(job) as child:
            child.send(job_line(job))
            done = False
            try:
                for data, event in self._parse(child):
                    self._doing = _doing(event) or self._doing
                    if isinstance(event, Error):
                        may_be = event.kind in _FAILED_IMPORTS
                        raise self._broken_package(may_be) or error_from(event)
                    done = done or isinstance(event, Done)
                    yield data, event
                child.wait(_END_S)
            except ProcessError as error:
                raise self._connection_fault(child) or RunnerError(
                    f"The runner failed {self._doing}: {error.message}",
                    hint=error.hint or "Its process was ended; nothing of it is left.",
                ) from error
            finally:
                child.terminate()
                self.cpu_s = child.cpu_s
            if not done or child.returncode != 0:
                raise self._death(child)

    def _parse(self, child: Child) -> Iterator[tuple[dict[str, Any], Event]]:
        progress_s = time.monotonic()
        order = EventOrder()
        for answer in child.lines(silence_s=self._patience_s):
            try:
                data, event = parse_line(answer)
            except RunnerError as error:
                if _was_killed(child):  # in the middle of this line
                    raise self._death(child) from error
                raise
            order.check(event)
            if not isinstance(event, Sample):
                progress_s = time.monotonic()
            elif self._patience_s is not None and time.monotonic() - progress_s > self._patience_s:
                raise ProcessError(f"It has come no further for {self._patience_s:g} s.")
            yield data, event

    def _connection_fault(self, child: Child) -> EdgegenError | None:
        if self._device is None:
            return None
        return self._device.explain_end(child, self._before)

    def _death(self, child: Child) -> EdgegenError:
        fault = self._connection_fault(child)
        if fault is not None:
            return type(fault)(
                f"{fault.message} The runner was lost {self._doing}.", hint=fault.hint
            )
        broken = self._broken_package(exit_signal(child.returncode) in _NATIVE_CRASHES)
        if broken is not None:
            return broken
        tail = child.log_tail()
        hint = f"The end of its log:\n{tail}" if tail else "It left no log."
        how = child.describe_exit()
        if exit_signal(child.returncode) == signal.SIGKILL:
            hint = "Use --residency sequential, --memory lean or a smaller image. " + hint
            how = self._how_killed()
        return RunnerError(f"The runner {how} {self._doing}.", hint=hint)

    def _broken_package(self, may_be: bool) -> EdgegenError | None:
        """Return which of a device's packages does not work, where that may be why a runner failed.

        The device uses each of them once.
        """
        if not may_be or self._device is None or not self._device.agent.connected:
            return None
        from edgegen.devices.faults import explain_fault

        facts = self._device.look_again(tried=True)
        faults = () if facts.runtime is None else facts.runtime.faults
        return explain_fault(self._device.address, facts, faults[0]) if faults else None

    def _how_killed(self) -> str:
        """Return how SIGKILL came, as far as the device's kernel tells."""
        kills = None if self._device is None else self._device.kills_for_memory(self._before)
        if kills is None:
            return describe_exit(-signal.SIGKILL)
        if kills:
            return "was ended by the kernel because memory ran out"
        return "was ended by SIGKILL (not by the kernel for want of memory: its count did not rise)"


def _was_killed(child: Child) -> bool:
    try:
        child.wait(_DEATH_S)
    except ProcessError:
        return False
    return child.returncode == _SSH_LOST or exit_signal(child.returncode) is not None


def generate(
    job: Job,
    on_event: Callable[[Event], None] | None = None,
    *,
    log: Path | None = None,
    device: Device | None = None,
    patience_s: float | None = None,
    ahead: RunnerAhead | None = None,
) -> list[ImageResult]:
    """Run a job to its end and return its images, warm-ups left out.

    `ahead` is a runner that was started for it here, and waits.
    Raises what `RunnerSession.events` raises.
    """
    starts: dict[int, ImageStart] = {}
    types: dict[str, None] = {}
    results = []
    peak: Memory | None = None
    session = RunnerSession(log=log, device=device, patience_s=patience_s, ahead=ahead)
    with closing(session.events(job)) as events:
        for event in events:
            if on_event is not None:
                on_event(event)
            if isinstance(event, Memory):
                peak = event
            elif isinstance(event, Load) and event.arithmetic is not None:
                types[event.arithmetic] = None
            elif isinstance(event, ImageStart):
                starts[event.index] = event
            elif isinstance(event, ImageEnd) and not starts[event.image].warmup:
                results.append(_result(starts[event.image], event, " and ".join(types) or None))
    if peak is None:
        return results
    taken, phase = peak.peak_pss_bytes, peak.peak_phase
    return [replace(it, peak_memory_bytes=taken, peak_phase=phase) for it in results]


def _runtime_of(job: Job | Mapping[str, Any]) -> str:
    backend = job.get("backend") if isinstance(job, Mapping) else job.backend
    return str(backend.name if isinstance(backend, Backend) else (backend or {}).get("name"))


def error_from(event: Error) -> EdgegenError:
    """Return the runner's error as the class of error that it is on the host."""
    error = _ERRORS.get(event.kind, RunnerError)(event.message, hint=event.hint)
    if isinstance(error, OutOfMemoryError):
        error.phase = event.phase
    return error


def _result(start: ImageStart, end: ImageEnd, arithmetic: str | None) -> ImageResult:
    return ImageResult(
        path=end.path,
        prompt=start.prompt,
        seed=start.seed,
        width=end.width,
        height=end.height,
        latency_s=end.end - end.start - end.load_s,
        runtime_s=end.runtime_s,
        sha256=end.sha256,
        arithmetic=arithmetic,
    )


def _doing(event: Event) -> str | None:
    """Return where the runner is after an event, as the end of a sentence."""
    match event:
        case Hello():
            return "while it loaded"
        case Load() | Free():
            return f"after it {'loaded' if isinstance(event, Load) else 'freed'} {event.component}"
        case ImageStart():
            return f"in the text of image {event.index}"
        case Step():
            return f"after step {event.index + 1} of {event.of} of image {event.image}"
        case Phase():
            return f"after the {event.name} of image {event.image}"
        case ImageEnd():
            return f"after image {event.image}"
        case _:
            return None
