"""Runs a planned benchmark on a device and keeps what the runner says, raw.

Each run is a process of its own: the golden case first (a device that makes another image is
reported, not timed), then the cold load, the steady images in several processes, and memory, whose
sampling would disturb the clock, last. A sustained measurement makes images in one process instead.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from edgegen.core.errors import ConfigError, EdgegenError, RunnerError
from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import (
    SCHEMA_VERSION,
    GoldenCheck,
    Measurement,
    Run,
    StartTemperature,
    Workload,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.chips import require_chip
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.match import matching_profile
from edgegen.measure.cooling import wait_until_cool
from edgegen.measure.cut_short import CutShortError, reason_of
from edgegen.measure.environment import environment_of, launch_there_s
from edgegen.measure.jobs import job_of
from edgegen.measure.memory_limit import work_within
from edgegen.measure.plan import BenchPlan
from edgegen.measure.planned_run import PlannedRun
from edgegen.measure.progress import RunProgress, unit_of
from edgegen.measure.recording import Recorder, refusing_nonsense
from edgegen.measure.site import Site, prepare_site
from edgegen.measure.unseen_sensors import unseen_sensors
from edgegen.runner.arithmetic import fastest_arithmetic
from edgegen.runner.attach import attach
from edgegen.runner.backend_choice import Wishes, choose_backend, memory_limit_bytes
from edgegen.runner.deployment import require_passed
from edgegen.runner.job import Backend, Job
from edgegen.runner.protocol import Event, Hello, Load
from edgegen.runner.runtimes import is_emulated, is_for_devices
from edgegen.runner.session import RunnerSession

Runner = Callable[[Job], Generator[Event]]
"""Starts a process of the runner with one job, and yields its events as they come.

It raises RunnerError where the runner fails, and ends the process when it is closed.
"""

_LONGEST_COOLING_S = 300.0


def measure(
    plan: BenchPlan,
    progress: Progress | None = None,
    *,
    device: Device | None = None,
    patience_s: float | None = None,
    runner: Runner | None = None,
    pictures: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Measurement:
    """Measure a package on a device that is connected, or on this machine.

    After `patience_s` without progress a runner is taken for hung. `pictures` is a folder for the
    image of the cold run, a PNG file that is written after the image's time has ended. `runner`
    stands in for the runner's process; `say` hears what was chosen, and why.
    Raises ParityError where the golden case fails, RunnerError where the runner fails or a
    component fell back to another provider than asked for, DeviceError where the device cannot be
    used, and CutShortError where any of these, or an interrupt, came after something was timed.
    """
    if device is None:
        with attach("local") as here:
            return measure(
                plan,
                progress,
                device=here,
                patience_s=patience_s,
                runner=runner,
                pictures=pictures,
                say=say,
            )
    session = open_session(
        plan, device, progress, patience_s=patience_s, runner=runner, pictures=pictures, say=say
    )
    try:
        for planned in plan.runs:
            session.run(planned)
    except (KeyboardInterrupt, SystemExit, EdgegenError) as end:
        if not session.has_timed:
            raise
        raise CutShortError(session.measurement(reason_of(end))) from end
    finally:
        session.site.leave_nothing()
    return session.measurement()


def open_session(
    plan: BenchPlan,
    device: Device,
    progress: Progress | None = None,
    *,
    patience_s: float | None = None,
    runner: Runner | None = None,
    pictures: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Session:
    """Put a package on a device for its runs; `session.site.leave_nothing()` ends it.

    Raises what `measure` raises before anything is timed.
    """
    device.agent.lock(f"bench {plan.identity.model}")
    backend = _backend(plan, device)  # before anything travels
    progress = progress or SilentProgress()
    site = prepare_site(plan, device, progress, pictures)
    backend = _in_its_arithmetic(plan, backend, site, progress, patience_s, say)
    work = dataclasses.replace(
        plan.workload,
        providers=backend.providers or (),
        threads=backend.threads,
        arithmetic=backend.arithmetic,
    )
    if work.max_memory_bytes is None:
        allowed = memory_limit_bytes(device, plan.runs_as, Wishes(profile=plan.profile))
        work = dataclasses.replace(work, max_memory_bytes=allowed)
    if work.max_memory_bytes is not None:
        work = work_within(plan, work, backend.name, site, patience_s=patience_s, say=say)
    return Session(
        plan=plan,
        work=work,
        runtime=backend.name,
        site=site,
        facts=device.look_again(),
        progress=progress,
        runner=runner or RunnerSession(device=device, patience_s=patience_s).events,
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        zero_s=time.perf_counter(),
    )


def _backend(plan: BenchPlan, device: Device) -> Backend:
    """Return what runs the package on the device, by the plan's wishes and its profile."""
    work, target = plan.workload, plan.runs_as
    wishes = Wishes(
        profile=plan.profile,
        runtime=plan.runtime,
        providers=work.providers,
        threads=work.threads,
        memory=work.memory,
        arithmetic=None if plan.arithmetic == "auto" else plan.arithmetic,
    )
    require_chip(device, plan.compiled)
    chosen = choose_backend(device, target, wishes)
    if not is_for_devices(chosen.name):
        raise ConfigError(
            f"This machine has no runtime for {target}. The reference executor would run the "
            "package, and its time and memory say nothing.",
            hint="Measure on a device that has the runtime (--device).",
        )
    if is_emulated(chosen.name, device.facts.machine):
        raise ConfigError(
            f"{device.address} only emulates the NPU that this package was compiled for: its "
            "pictures are right, and its times say nothing.",
            hint="Measure on a device with that chip (--device).",
        )
    return chosen


def _in_its_arithmetic(
    plan: BenchPlan,
    backend: Backend,
    site: Site,
    progress: Progress,
    patience_s: float | None,
    say: Callable[[str], None] | None,
) -> Backend:
    """Return a backend with the type that is to be measured; None where it is the recipe's own."""
    manifest = load_manifest(plan.package)
    chosen = backend.arithmetic
    if plan.arithmetic == "auto":
        choice = fastest_arithmetic(
            site.package,
            manifest,
            plan.identity.manifest_sha256,
            backend,
            device=site.device,
            residency=plan.workload.residency,
            patience_s=patience_s,
            progress=progress,
        )
        if say is not None:
            say(f"Arithmetic: {choice.reason}")
        chosen = choice.arithmetic
    same = chosen == manifest.recipe.compute
    return dataclasses.replace(backend, arithmetic=None if same else chosen)


@dataclasses.dataclass(slots=True, kw_only=True)
class Session:
    """The runs of one measurement, one after the other: what is wanted, and what came of it.

    `zero_s` is the moment, on the host's clock, that the runs' starts count from.
    """

    plan: BenchPlan
    work: Workload
    runtime: str
    site: Site
    facts: DeviceFacts
    progress: Progress
    runner: Runner
    started_at: str
    zero_s: float
    hello: Hello | None = None
    golden: tuple[GoldenCheck, ...] = ()
    cooled: StartTemperature | None = None
    runs: list[Run] = dataclasses.field(default_factory=list)

    @property
    def has_timed(self) -> bool:
        """Return whether anything but the golden case was run."""
        return any(run.kind != "golden" for run in self.runs)

    def measurement(self, interrupted: str | None = None) -> Measurement:
        assert self.hello is not None
        device, profile = self.site.device, self.plan.profile
        if profile is None and not device.is_local:
            profile = matching_profile(self.facts)
        used = {provider for run in self.runs for load in run.loads for provider in load.providers}
        with refusing_nonsense():
            environment = environment_of(
                self.hello, self.facts, device.address, profile, self.started_at
            )
        return Measurement(
            schema_version=SCHEMA_VERSION,
            package=self.plan.identity,
            workload=dataclasses.replace(
                self.work, providers=self.work.providers or tuple(sorted(used))
            ),
            environment=environment,
            runs=tuple(self.runs),
            golden=self.golden,
            unseen=unseen_sensors(self.runs, () if profile is None else profile.sensors),
            quick=self.plan.quick,
            start_temperature=self.cooled,
            interrupted=interrupted,
        )

    def run(self, planned: PlannedRun) -> None:
        """Run one process, and keep what it measured; of one that is cut short, what is whole."""
        if planned.kind != "golden":
            self._cool()
        cache = self.site.page_cache(self.plan, planned.kind)
        recorder = Recorder()
        started = time.perf_counter()
        launch_s = 0.0

        def keep() -> None:
            assert recorder.hello is not None
            is_local = self.site.device.is_local
            self.hello = self.hello or recorder.hello
            self.runs.append(
                recorder.run(
                    planned.kind,
                    started_s=started - self.zero_s,
                    launch_s=launch_s if is_local else launch_there_s(recorder.hello),
                    page_cache=cache,
                )
            )

        try:
            with (
                self.progress.step(planned.title, unit=unit_of(planned)) as step,
                closing(self.runner(self._job(planned))) as events,
            ):
                shown = RunProgress(step, planned)
                for event in events:
                    if recorder.hello is None:
                        launch_s = time.perf_counter() - started
                    recorder.take(event)
                    if isinstance(event, Load):
                        self._check_provider(event)
                    shown.take(event)
        except (KeyboardInterrupt, SystemExit, EdgegenError):
            if recorder.images:
                keep()
            raise
        self._check(planned, recorder)
        keep()

    def _check(self, planned: PlannedRun, recorder: Recorder) -> None:
        """Check that a run that came to its end is what was planned.

        Raises RunnerError or ParityError.
        """
        if recorder.hello is None:
            raise RunnerError("The runner ended without a word.", hint="Try: edgegen doctor")
        if planned.kind == "golden":
            self.golden = tuple(recorder.checks)
            require_passed(self.golden, self.site.name, "Nothing was timed.")
        if planned.kind == "cold":
            self.site.fetch_pictures(self.work)

    def _cool(self) -> None:
        """Wait for the start temperature before the first run that is timed."""
        if self.cooled is None and self.plan.cools_first:
            self.cooled = wait_until_cool(
                self.site.device,
                self.progress,
                wanted_c=self.plan.start_c,
                longest_s=_LONGEST_COOLING_S,
            )

    def _job(self, planned: PlannedRun) -> Job:
        is_cold, is_local = planned.kind == "cold", self.site.device.is_local
        return job_of(
            planned,
            self.work,
            package=self.site.package,
            pictures=self.plan.pictures,
            class_label=self.plan.class_label,
            lora=self.site.lora,
            runtime=self.runtime,
            scheduler=self.plan.scheduler,
            output=self.site.output() if is_cold else None,
            # What was pushed is hashed on the device, once.
            verify=not is_local and (planned.kind == "golden" or (is_cold and not self.golden)),
        )

    def _check_provider(self, load: Load) -> None:
        wanted = self.work.providers[:1]
        if wanted and load.providers[:1] != wanted:
            raise RunnerError(
                f"{load.component} was to run on {wanted[0]}, but runs on "
                f"{', '.join(load.providers) or 'nothing'}.",
                hint="A fallback would be measured instead. See: edgegen doctor",
            )
