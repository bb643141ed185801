"""Turns the runner's events into a run of a measurement; nothing is averaged, nothing left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgegen.core import measurement
from edgegen.core.errors import RunnerError
from edgegen.core.measurement import (
    GoldenCheck,
    ImageSample,
    MemoryPeak,
    PageCache,
    Run,
    RunKind,
    SensorSample,
)
from edgegen.runner.protocol import (
    Check,
    Event,
    Hello,
    ImageEnd,
    ImageStart,
    Load,
    Memory,
    Phase,
    Sample,
    Step,
    Warn,
)

_SPANS = (Load, Phase, Step, ImageEnd)

CLOCK_SLACK_S = 0.25
"""How far back an event's time may lie: threads take the time before they wait for their turn."""
CLOCK_GAP_S = 5.0
"""A gap between the device's clock and the host's that is reported; less may be the network."""


@contextmanager
def refusing_nonsense() -> Iterator[None]:
    """Raise RunnerError in place of the ValueError of a measured value that no device has."""
    try:
        yield
    except ValueError as error:
        raise RunnerError(
            f"The runner reported what no device measures: {error}.",
            hint="Its clock or a sensor is broken. Try: edgegen doctor",
        ) from error


class Recorder:
    """Takes the events of one process of the runner, in order.

    `hello` is the first event, once it was taken: times are counted from it. `images` are those
    that are whole. The device's clock is held against this machine's: one that goes back ends the
    measurement, and one that stands still or leaps (a device that slept) is reported.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.hello: Hello | None = None
        self._clock = clock
        self._first_here_s = 0.0
        self._last_t = -math.inf
        self._gap_s = 0.0
        self.checks: list[GoldenCheck] = []
        self.loads: list[measurement.Load] = []
        self.images: list[ImageSample] = []
        self._starts: dict[int, ImageStart] = {}
        self._phases: dict[int, list[measurement.Phase]] = {}
        self._steps: dict[int, list[measurement.Step]] = {}
        self._sensors: list[SensorSample] = []
        self._memory: MemoryPeak | None = None
        self._warnings: list[str] = []

    def take(self, event: Event) -> None:
        """Take one event; those that measure nothing (`free`, `done`) leave no trace.

        Raises RunnerError for an image that ends without having begun, for a clock that went back,
        and for what no device measures.
        """
        self._check_clock(event)
        with refusing_nonsense():
            self._keep(event)

    def _keep(self, event: Event) -> None:
        match event:
            case Hello():
                self.hello = event
            case Load():
                self.loads.append(
                    measurement.Load(
                        component=event.component,
                        start_s=self._at(event.start),
                        end_s=self._at(event.end),
                        providers=event.providers,
                        arithmetic=event.arithmetic,
                    )
                )
            case ImageStart():
                self._starts[event.index] = event
            case Phase():
                self._phases.setdefault(event.image, []).append(
                    measurement.Phase(
                        name=event.name,
                        start_s=self._at(event.start),
                        end_s=self._at(event.end),
                        runtime_s=event.runtime_s,
                    )
                )
            case Step():
                self._steps.setdefault(event.image, []).append(
                    measurement.Step(
                        index=event.index,
                        timestep=event.timestep,
                        start_s=self._at(event.start),
                        end_s=self._at(event.end),
                        runtime_s=event.runtime_s,
                    )
                )
            case ImageEnd():
                self.images.append(self._image(event))
            case Sample():
                self._sensors.append(
                    SensorSample(
                        time_s=self._at(event.t), values=dict(event.values), cost_s=event.cost_s
                    )
                )
            case Memory():
                self._memory = MemoryPeak(
                    peak_pss_bytes=event.peak_pss_bytes,
                    peak_anonymous_bytes=event.peak_anonymous_bytes,
                    peak_file_bytes=event.peak_file_bytes,
                    peak_resident_bytes=event.peak_resident_bytes,
                    read_bytes=event.read_bytes,
                    peak_gpu_bytes=event.peak_gpu_bytes,
                    processes=event.processes,
                )
            case Check():
                self.checks.append(
                    GoldenCheck(
                        layer=event.layer,
                        name=event.name,
                        psnr_db=event.psnr_db,
                        threshold_db=event.threshold_db,
                        passed=event.passed,
                        why=event.why,
                    )
                )
            case Warn():
                self._warnings.append(event.message)
            case _:
                pass

    def run(
        self,
        kind: RunKind,
        *,
        started_s: float,
        launch_s: float,
        page_cache: PageCache | None = None,
    ) -> Run:
        warnings = list(self._warnings)
        if abs(self._gap_s) >= CLOCK_GAP_S:
            how = "stood still" if self._gap_s > 0 else "leapt"
            warnings.append(
                f"The device's clock {how} for {abs(self._gap_s):.0f} s against this machine's: "
                "it slept, or was stopped. Its latencies are not to be trusted."
            )
        with refusing_nonsense():
            return Run(
                kind=kind,
                started_s=started_s,
                launch_s=launch_s,
                loads=tuple(self.loads),
                images=tuple(self.images),
                sensors=tuple(self._sensors),
                memory=self._memory,
                page_cache=page_cache,
                warnings=tuple(warnings),
            )

    def _check_clock(self, event: Event) -> None:
        here_s = self._clock()
        if self.hello is None:
            self._first_here_s, self._last_t = here_s, event.t
            return
        spans = [(event.start, event.end)] if isinstance(event, _SPANS) else []
        if event.t < self._last_t - CLOCK_SLACK_S or any(end < start for start, end in spans):
            self.images.clear()
            raise RunnerError(
                f"The device's clock went back: {event.t:.3f} s after {self._last_t:.3f} s.",
                hint="Its monotonic clock does not work. Nothing of this run can be used.",
            )
        self._last_t = max(self._last_t, event.t)
        # Lines may come late, all at once, and never early: only a gap that stays is one.
        self._gap_s = (here_s - self._first_here_s) - (event.t - self.hello.t)

    def _image(self, end: ImageEnd) -> ImageSample:
        start = self._starts.get(end.image)
        if start is None:
            raise RunnerError(
                f"The runner ended image {end.image} without having begun it.",
                hint="The runner is of another edgegen; install edgegen again.",
            )
        return ImageSample(
            index=end.image,
            seed=start.seed,
            warmup=start.warmup,
            start_s=self._at(end.start),
            end_s=self._at(end.end),
            load_s=end.load_s,
            runtime_s=end.runtime_s,
            sha256=end.sha256,
            phases=tuple(self._phases.pop(end.image, [])),
            steps=tuple(self._steps.pop(end.image, [])),
        )

    def _at(self, time_s: float) -> float:
        return time_s - (self.hello.t if self.hello is not None else 0.0)
