"""Runs one job in a process of the runner on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgegen.core.errors import (
    ConfigError,
    EdgegenError,
    IntegrityError,
    MissingDependencyError,
    ResourceError,
    RunnerError,
)
from edgegen.core.process import Child, ProcessError
from edgegen.runner.job import Job, job_line
from edgegen.runner.pack import packed_runner
from edgegen.runner.protocol import (
    Done,
    Error,
    Event,
    Free,
    Hello,
    ImageEnd,
    ImageStart,
    Load,
    Phase,
    Step,
    parse_line,
)

_ERRORS: dict[str, type[EdgegenError]] = {
    "bad-request": ConfigError,
    "unsupported-scheduler": ConfigError,
    "unsupported-family": ConfigError,
    "bad-package": IntegrityError,
    "missing-runtime": MissingDependencyError,
    "memory": ResourceError,
    "disk": ResourceError,
}
"""What the runner's kinds of errors are here; the others are RunnerErrors."""

_ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "PYTHONUTF8": "1"}
_END_S = 30.0
_DEATH_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """An image that was made; `latency_s` is from the prompt to the pixels, loading left out."""

    path: str | None
    prompt: str | None
    seed: int
    width: int
    height: int
    latency_s: float
    runtime_s: float
    sha256: str


class RunnerSession:
    """One process of the runner for one job.

    `cpu_s` is the processor time that it took, once it has ended. `log` receives what the runner
    and its runtime write to standard error.
    """

    def __init__(self, *, log: Path | None = None, python: str = sys.executable) -> None:
        self.cpu_s: float | None = None
        self._log = log
        self._python = python
        self._doing = "before it said anything"

    def events(self, job: Job) -> Generator[Event]:
        """Yield the events of a job as they come; closing the generator ends the process.

        Raises the error that the runner tells, as the class that it is here, and RunnerError
        where the runner dies or does not keep to its protocol.
        """
        for _, event in self._follow(job_line(job)):
            yield event

    def raw_events(self, job: Job | Mapping[str, Any]) -> Generator[dict[str, Any]]:
        """Yield what `events` yields, checked in the same way, as the JSON objects that came."""
        for data, _ in self._follow(job_line(job)):
            yield data

    def _follow(self, line: str) -> Generator[tuple[dict[str, Any], Event]]:
        arguments = [self._python, str(packed_runner())]
        with Child(arguments, log=self._log, env=_ENVIRONMENT) as child:
            child.send(line)
            done = False
            try:
                for answer in child.lines():
                    try:
                        data, event = parse_line(answer)
                    except RunnerError as error:
                        if _was_killed(child):  # in the middle of this line
                            raise self._death(child) from error
                        raise
                    self._doing = _doing(event) or self._doing
                    if isinstance(event, Error):
                        raise error_from(event)
                    done = done or isinstance(event, Done)
                    yield data, event
                child.wait(_END_S)
            except ProcessError as error:
                raise RunnerError(
                    f"The runner failed {self._doing}: {error.message}", hint=error.hint
                ) from error
            finally:
                child.terminate()
                self.cpu_s = child.cpu_s
            if not done or child.returncode != 0:
                raise self._death(child)

    def _death(self, child: Child) -> RunnerError:
        tail = child.log_tail()
        hint = f"The end of its log:\n{tail}" if tail else "It left no log."
        if child.returncode == -9:
            hint = "Use --residency sequential, --memory lean or a smaller image. " + hint
        return RunnerError(f"The runner {child.describe_exit()} {self._doing}.", hint=hint)


def _was_killed(child: Child) -> bool:
    try:
        return child.wait(_DEATH_S) < 0
    except ProcessError:
        return False


def generate(
    job: Job, on_event: Callable[[Event], None] | None = None, *, log: Path | None = None
) -> list[ImageResult]:
    """Run a job to its end and return its images, warm-ups left out.

    Raises what `RunnerSession.events` raises.
    """
    starts: dict[int, ImageStart] = {}
    results = []
    with closing(RunnerSession(log=log).events(job)) as events:
        for event in events:
            if on_event is not None:
                on_event(event)
            if isinstance(event, ImageStart):
                starts[event.index] = event
            elif isinstance(event, ImageEnd) and not starts[event.image].warmup:
                results.append(_result(starts[event.image], event))
    return results


def error_from(event: Error) -> EdgegenError:
    """Return the runner's error as the class of error that it is on the host."""
    kind = _ERRORS.get(event.kind, RunnerError)
    return kind(event.message, hint=event.hint)


def _result(start: ImageStart, end: ImageEnd) -> ImageResult:
    return ImageResult(
        path=end.path,
        prompt=start.prompt,
        seed=start.seed,
        width=end.width,
        height=end.height,
        latency_s=end.end - end.start - end.load_s,
        runtime_s=end.runtime_s,
        sha256=end.sha256,
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
