"""Runs a planned benchmark and keeps what the runner says, raw.

Each run is a process of its own: the golden case first (a device that makes another image is
reported, not timed), then the cold load, the steady images in several processes, and memory, whose
sampling would disturb the clock, last.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from edgegen import __version__
from edgegen.bench.environment import SystemState, read_system_state
from edgegen.bench.page_cache import evict, look
from edgegen.bench.plan import BenchPlan, PlannedRun
from edgegen.bench.recording import Recorder
from edgegen.bench.sensors import unseen_sensors
from edgegen.core.errors import ParityError, RunnerError
from edgegen.core.measurement import (
    SCHEMA_VERSION,
    Environment,
    GoldenCheck,
    Measurement,
    PageCache,
    Run,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.runner.job import Backend, GenerateJob, GoldenJob, Job, Request, Sensors, absolute
from edgegen.runner.protocol import Check, Event, Hello, ImageStart, Load, Step
from edgegen.runner.session import RunnerSession

Runner = Callable[[Job], Generator[Event]]
"""Starts a process of the runner with one job, and yields its events as they come.

It raises RunnerError where the runner fails, and ends the process when it is closed.
"""

_SENSOR_INTERVAL_S = 1.0


def measure(
    plan: BenchPlan,
    progress: Progress | None = None,
    *,
    runner: Runner | None = None,
    pictures: Path | None = None,
) -> Measurement:
    """Measure a package on this machine.

    `pictures` is a folder for the image of the cold run, a PNG file that is written after the
    image's time has ended. Raises ParityError where the golden case fails, and RunnerError where
    the runner fails or a component fell back to another provider than asked for.
    """
    session = _Session(plan, progress or SilentProgress(), runner or run_here, pictures)
    return session.measure()


def run_here(job: Job) -> Generator[Event]:
    """Run one job in a process of the runner on this machine."""
    return RunnerSession().events(job)


class _Session:
    """What one measurement collects on its way."""

    def __init__(
        self, plan: BenchPlan, progress: Progress, runner: Runner, pictures: Path | None
    ) -> None:
        self._plan = plan
        self._progress = progress
        self._runner = runner
        self._pictures = pictures
        self._state = read_system_state()
        self._started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._zero_s = time.perf_counter()
        self._hello: Hello | None = None
        self._golden: tuple[GoldenCheck, ...] = ()

    def measure(self) -> Measurement:
        """Run every planned run, in order."""
        runs = tuple(self._run(planned) for planned in self._plan.runs)
        assert self._hello is not None
        used = {provider for run in runs for load in run.loads for provider in load.providers}
        return Measurement(
            schema_version=SCHEMA_VERSION,
            package=self._plan.identity,
            workload=dataclasses.replace(
                self._plan.workload,
                providers=self._plan.workload.providers or tuple(sorted(used)),
            ),
            environment=_environment(self._hello, self._state, self._started_at),
            runs=runs,
            golden=self._golden,
            unseen=unseen_sensors(runs),
            quick=self._plan.quick,
        )

    def _run(self, planned: PlannedRun) -> Run:
        cache = self._prepare_files(planned)
        recorder = Recorder()
        images = planned.images + planned.warmup_images
        started = time.perf_counter()
        launch_s = 0.0
        with (
            self._progress.step(planned.title, unit="steps") as step,
            closing(self._runner(self._job(planned))) as events,
        ):
            for event in events:
                if recorder.hello is None:
                    launch_s = time.perf_counter() - started
                recorder.take(event)
                if isinstance(event, Step):
                    step.total = images * event.of
                    step.advance()
                elif isinstance(event, Load):
                    step.describe(event.component)
                elif isinstance(event, ImageStart):
                    step.describe(f"image {event.index + 1} of {images}" if images > 1 else "")
                elif isinstance(event, Check):
                    step.describe(f"{event.layer} {event.name}")
        if recorder.hello is None:
            raise RunnerError("The runner ended without a word.", hint="Try: edgegen doctor")
        self._hello = self._hello or recorder.hello
        if planned.kind == "golden":
            self._golden = tuple(recorder.checks)
            _check_golden(self._golden)
        self._check_providers(recorder)
        return recorder.run(
            planned.kind,
            started_s=started - self._zero_s,
            launch_s=launch_s,
            page_cache=cache,
        )

    def _prepare_files(self, planned: PlannedRun) -> PageCache | None:
        if planned.kind in ("cold", "memory"):  # from cold on, what is read is really read
            return evict(self._plan.files)
        return look(self._plan.files) if planned.kind == "steady" else None

    def _job(self, planned: PlannedRun) -> Job:
        work = self._plan.workload
        package = str(self._plan.package.resolve())
        backend = Backend(
            providers=work.providers or None, threads=work.threads, memory=work.memory
        )
        if planned.kind == "golden":
            return GoldenJob(package=package, residency=work.residency, backend=backend)
        request = Request(
            prompts=None if work.prompt is None else (work.prompt,),
            negative_prompt=work.negative_prompt,
            steps=work.steps,
            guidance=work.guidance,
            scheduler=self._plan.scheduler,
            seed=work.seed,
            width=work.width,
            height=work.height,
        )
        return GenerateJob(
            package=package,
            request=request,
            output=absolute(self._pictures) if planned.kind == "cold" else None,
            residency=work.residency,
            warmup_images=planned.warmup_images,
            repeat=planned.images,
            backend=backend,
            sensors=Sensors(interval_s=_SENSOR_INTERVAL_S) if planned.kind == "steady" else None,
            measure_memory=planned.kind == "memory",
        )

    def _check_providers(self, recorder: Recorder) -> None:
        wanted = self._plan.workload.providers[:1]
        for load in recorder.loads:
            if wanted and load.providers[:1] != wanted:
                raise RunnerError(
                    f"{load.component} was to run on {wanted[0]}, but runs on "
                    f"{', '.join(load.providers) or 'nothing'}.",
                    hint="A fallback would be measured instead. See: edgegen doctor",
                )


def _check_golden(checks: tuple[GoldenCheck, ...]) -> None:
    failed = [check for check in checks if not check.passed]
    if not failed:
        return
    worst = failed[-1]
    reached = "is not finite" if worst.psnr_db is None else f"reaches {worst.psnr_db:.1f} dB"
    raise ParityError(
        f"This device does not compute what the package promises: {worst.layer} {worst.name} "
        f"{reached}, not {worst.threshold_db:g} dB. Nothing was timed.",
        hint="Check the package with `edgegen verify`; if it passes elsewhere, try another "
        "--provider, or report the runtime's version.",
    )


def _environment(hello: Hello, state: SystemState, started_at: str) -> Environment:
    """Join what the runner says of the machine and what the host sees of its state."""
    platform, runtime = hello.platform, hello.runtime
    return Environment(
        device="local",
        machine=platform.machine,
        operating_system=state.operating_system,
        processor=platform.cpu,
        cores=platform.cores,
        memory_bytes=platform.memory_bytes,
        governor=state.governor,
        virtual_machine=state.virtual_machine,
        hypervisor=state.hypervisor,
        emulated=state.emulated,
        load_average=state.load_average,
        versions={
            "edgegen": __version__,
            "runner": hello.runner_version,
            "python": hello.python,
            "numpy": hello.numpy,
            runtime.name: runtime.version,
        },
        started_at=started_at,
    )
