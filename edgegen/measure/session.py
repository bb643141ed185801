"""Runs a planned benchmark on a device and keeps what the runner says, raw.

Each run is a process of its own: the golden case first (a device that makes another image is
reported, not timed), then the cold load, the steady images in several processes, and memory, whose
sampling would disturb the clock, last. A sustained measurement makes images in one process instead.
"""

from __future__ import annotations

import dataclasses
import datetime
import posixpath
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

from edgegen.core.errors import ConfigError, EdgegenError, RunnerError
from edgegen.core.measurement import (
    SCHEMA_VERSION,
    GoldenCheck,
    Measurement,
    PageCache,
    Run,
    StartTemperature,
    Workload,
)
from edgegen.core.progress import Progress, SilentProgress
from edgegen.devices.agent import ANSWER_S, SLOWEST_BYTES_PER_S
from edgegen.devices.answers import Place
from edgegen.devices.device import Device
from edgegen.devices.facts import DeviceFacts
from edgegen.devices.match import matching_profile
from edgegen.devices.store import new_run_name, push, shipment
from edgegen.measure.cooling import wait_until_cool
from edgegen.measure.cut_short import CutShortError, reason_of
from edgegen.measure.environment import environment_of, launch_there_s
from edgegen.measure.jobs import job_of
from edgegen.measure.plan import BenchPlan, PlannedRun
from edgegen.measure.progress import RunProgress, unit_of
from edgegen.measure.recording import Recorder, refusing_nonsense
from edgegen.measure.unseen_sensors import unseen_sensors
from edgegen.runner.attach import attach
from edgegen.runner.backend_choice import Wishes, choose_backend
from edgegen.runner.deployment import require_passed
from edgegen.runner.job import Job, absolute
from edgegen.runner.protocol import Event, Hello, Load
from edgegen.runner.received import Announced, fetch_picture
from edgegen.runner.runtimes import is_for_devices
from edgegen.runner.session import RunnerSession

Runner = Callable[[Job], Generator[Event]]
"""Starts a process of the runner with one job, and yields its events as they come.

It raises RunnerError where the runner fails, and ends the process when it is closed.
"""

_LONGEST_COOLING_S = 300.0
_MOST_PICTURES = 16


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The names of the files of a run, on the device."""

    files: tuple[str, ...]

    def __post_init__(self) -> None:
        if any("/" in name or not name.isprintable() for name in self.files):
            raise ValueError("a file's name is none")


def measure(
    plan: BenchPlan,
    progress: Progress | None = None,
    *,
    device: Device | None = None,
    patience_s: float | None = None,
    runner: Runner | None = None,
    pictures: Path | None = None,
) -> Measurement:
    """Measure a package on a device that is connected, or on this machine.

    After `patience_s` without progress a runner is taken for hung.
    `pictures` is a folder for the image of the cold run, a PNG file that is written after the
    image's time has ended. `runner` stands in for the runner's process. Raises ParityError where
    the golden case fails, RunnerError where the runner fails or a component fell back to another
    provider than asked for, DeviceError where the device cannot be used, and CutShortError where
    any of these, or an interrupt, came after something was timed.
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
            )
    return _Session(
        plan,
        device,
        progress or SilentProgress(),
        patience_s,
        runner,
        pictures,
    ).measure()


class _Session:
    """What one measurement collects on its way."""

    def __init__(
        self,
        plan: BenchPlan,
        device: Device,
        progress: Progress,
        patience_s: float | None,
        runner: Runner | None,
        pictures: Path | None,
    ) -> None:
        self._plan = plan
        self._device = device
        self._progress = progress
        self._patience_s = patience_s
        self._runner = runner or self._run_there
        self._pictures = pictures
        self._hello: Hello | None = None
        self._golden: tuple[GoldenCheck, ...] = ()
        self._cooled: StartTemperature | None = None
        self._runs: list[Run] = []
        self._run_name = new_run_name()
        self._package = ""
        self._work = plan.workload
        self._runtime = ""
        self._zero_s = 0.0

    def measure(self) -> Measurement:
        """Run every planned run, in order.

        Raises CutShortError where it is ended early and something was timed by then.
        """
        self._device.agent.lock(f"bench {self._plan.identity.model}")
        self._work = self._workload()  # before anything travels
        self._package = self._place()
        facts = self._device.look_again()
        started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._zero_s = time.perf_counter()
        try:
            for planned in self._plan.runs:
                self._run(planned)
        except (KeyboardInterrupt, SystemExit, EdgegenError) as end:
            if all(run.kind == "golden" for run in self._runs):
                raise  # nothing was timed yet
            raise CutShortError(self._measurement(facts, started_at, reason_of(end))) from end
        finally:
            self._leave_nothing()
        return self._measurement(facts, started_at)

    def _measurement(
        self, facts: DeviceFacts, started_at: str, interrupted: str | None = None
    ) -> Measurement:
        """Return all that was measured so far."""
        assert self._hello is not None
        profile = self._plan.profile
        if profile is None and not self._device.is_local:
            profile = matching_profile(facts)
        used = {provider for run in self._runs for load in run.loads for provider in load.providers}
        with refusing_nonsense():
            environment = environment_of(
                self._hello, facts, self._device.address, profile, started_at
            )
        return Measurement(
            schema_version=SCHEMA_VERSION,
            package=self._plan.identity,
            workload=dataclasses.replace(
                self._work, providers=self._work.providers or tuple(sorted(used))
            ),
            environment=environment,
            runs=tuple(self._runs),
            golden=self._golden,
            unseen=unseen_sensors(self._runs, () if profile is None else profile.sensors),
            quick=self._plan.quick,
            start_temperature=self._cooled,
            interrupted=interrupted,
        )

    def _place(self) -> str:
        """Return the package's folder on the device; what it lacks is pushed."""
        if self._device.is_local:
            return str(self._plan.package.resolve())
        return push(self._device, shipment(self._plan.package), self._progress).path

    def _workload(self) -> Workload:
        """Return the workload, completed by what the device's profile says of its runtime."""
        work = self._plan.workload
        wishes = Wishes(
            profile=self._plan.profile,
            runtime=self._plan.runtime,
            providers=work.providers,
            threads=work.threads,
            memory=work.memory,
        )
        chosen = choose_backend(self._device, self._plan.identity.target, wishes)
        if not is_for_devices(chosen.name):
            raise ConfigError(
                f"This machine has no runtime for {self._plan.identity.target}. The reference "
                "executor would run the package, and its time and memory say nothing.",
                hint="Measure on a device that has the runtime (--device).",
            )
        self._runtime = chosen.name
        return dataclasses.replace(work, providers=chosen.providers or (), threads=chosen.threads)

    def _run_there(self, job: Job) -> Generator[Event]:
        session = RunnerSession(device=self._device, patience_s=self._patience_s)
        return session.events(job)

    def _run(self, planned: PlannedRun) -> None:
        """Run one process, and keep what it measured; of one that is cut short, what is whole."""
        if planned.kind != "golden":
            self._cool()
        cache = self._prepare_files(planned)
        recorder = Recorder()
        started = time.perf_counter()
        launch_s = 0.0

        def keep() -> None:
            assert recorder.hello is not None
            is_local = self._device.is_local
            self._hello = self._hello or recorder.hello
            self._runs.append(
                recorder.run(
                    planned.kind,
                    started_s=started - self._zero_s,
                    launch_s=launch_s if is_local else launch_there_s(recorder.hello),
                    page_cache=cache,
                )
            )

        try:
            with (
                self._progress.step(planned.title, unit=unit_of(planned)) as step,
                closing(self._runner(self._job(planned))) as events,
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
            self._golden = tuple(recorder.checks)
            require_passed(self._golden, self._name(), "Nothing was timed.")
        if planned.kind == "cold":
            self._fetch_pictures()

    def _name(self) -> str:
        return "This device" if self._device.is_local else self._device.address

    def _cool(self) -> None:
        """Wait for the start temperature before the first run that is timed."""
        if self._cooled is None and self._plan.cools_first:
            self._cooled = wait_until_cool(
                self._device,
                self._progress,
                wanted_c=self._plan.start_c,
                longest_s=_LONGEST_COOLING_S,
            )

    def _prepare_files(self, planned: PlannedRun) -> PageCache | None:
        evict = planned.kind in ("cold", "memory")  # from cold on, what is read is really read
        if not evict and planned.kind not in ("steady", "sustained"):
            return None
        files = [posixpath.join(self._package, path) for path in self._plan.files]
        size_bytes = self._plan.identity.package_bytes
        return self._device.agent.ask(
            PageCache,
            "page_cache",
            files=files,
            evict=evict,
            answer_s=ANSWER_S + size_bytes / SLOWEST_BYTES_PER_S,
        )

    def _job(self, planned: PlannedRun) -> Job:
        is_cold = planned.kind == "cold"
        is_local = self._device.is_local
        return job_of(
            planned,
            self._work,
            package=self._package,
            runtime=self._runtime,
            scheduler=self._plan.scheduler,
            output=self._output() if is_cold else None,
            # What was pushed is hashed on the device, once.
            verify=not is_local and (planned.kind == "golden" or (is_cold and not self._golden)),
        )

    def _output(self) -> str | None:
        """Return the folder, on the device, for the picture of the cold run."""
        if self._pictures is None or self._device.is_local:
            return absolute(self._pictures)
        return self._device.agent.ask(Place, "make_run", name=self._run_name).path

    def _fetch_pictures(self) -> None:
        if self._pictures is None or self._device.is_local:
            return
        agent = self._device.agent
        folder = agent.ask(Place, "make_run", name=self._run_name).path
        announced = Announced(width=self._work.width, height=self._work.height)
        # The names are the device's: they are only ever used there.
        names = agent.ask(_Files, "list_run", name=self._run_name).files[:_MOST_PICTURES]
        for index, name in enumerate(names):
            place = self._pictures / f"{index}.png"
            fetch_picture(self._device, posixpath.join(folder, name), place, announced)

    def _leave_nothing(self) -> None:
        """Remove this run's files from the device, as far as it can still be reached."""
        if not self._device.is_local:
            self._device.remove_run(self._run_name)

    def _check_provider(self, load: Load) -> None:
        wanted = self._work.providers[:1]
        if wanted and load.providers[:1] != wanted:
            raise RunnerError(
                f"{load.component} was to run on {wanted[0]}, but runs on "
                f"{', '.join(load.providers) or 'nothing'}.",
                hint="A fallback would be measured instead. See: edgegen doctor",
            )


def run_here(job: Job) -> Generator[Event]:
    """Run one job in a process of the runner on this machine."""
    return RunnerSession().events(job)
