"""Converts the components of packages in one worker, with progress and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from edgegen.core.codec import decode
from edgegen.core.errors import EdgegenError
from edgegen.core.memory import PeakSampler
from edgegen.core.package import StageCost
from edgegen.core.progress import Progress, Step
from edgegen.core.worker import Event, Finished, Worker, error_from
from edgegen.exporters.base import ConverterJob, ExportJob, ExportJobs, ExportResult
from edgegen.reference.child import GoldenJobs
from edgegen.reference.run import STAGE as REFERENCE_STAGE
from edgegen.reference.run import RunGoldens

WORKER = "edgegen.exporters.child"

TOOLKITS_STAGE = "import the toolkits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """The components that were converted, by name, and what each of them cost.

    The first cost is that of importing the toolkits, which the components share. `warnings` say
    what the user should know of the model.
    """

    results: Mapping[str, ExportResult]
    costs: tuple[StageCost, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageJobs:
    """The components of one package.

    `label` is what it is called among others, empty where there are none. `expected_bytes` is what
    the weights of each component will take; the worker corrects it.
    """

    label: str
    jobs: tuple[ExportJob, ...]
    expected_bytes: Mapping[str, int]


def convert(
    packages: Sequence[PackageJobs], worker: Worker, *, progress: Progress
) -> tuple[Conversion | EdgegenError, ...]:
    """Convert the components of several packages of a model; return what became of each package.

    What they have in common is done once. A package that fails leaves the others as they are.
    `worker` is one of `WORKER`.
    """
    exports = ExportJobs(packages=tuple(it.jobs for it in packages))
    with ExitStack() as stack:
        sampler = stack.enter_context(PeakSampler())
        follower = _Follower(packages, progress, stack, sampler)
        error: EdgegenError | None = None
        cpu_s = 0.0
        try:
            finished = worker.do(
                ConverterJob(exports=exports),
                stage="convert",
                on_event=follower.hear,
                sampler=sampler,
            )
            cpu_s = finished.cost.cpu_s
        except EdgegenError as ended:
            error = ended
        follower.end_stage()
    return follower.outcomes(error, worker_cpu_s=cpu_s)


def goldens_by(worker: Worker) -> RunGoldens:
    """Return what has a converter's worker make golden cases, in a fork of it."""

    def run(job: GoldenJobs, on_event: Callable[[Event], None], sampler: PeakSampler) -> Finished:
        made = ConverterJob(goldens=job)
        return worker.do(made, stage=REFERENCE_STAGE, on_event=on_event, sampler=sampler)

    return run


class _Follower:
    """Hears a worker's events: a stage for the toolkits, one a capture, and one an artifact."""

    def __init__(
        self,
        packages: Sequence[PackageJobs],
        progress: Progress,
        stack: ExitStack,
        sampler: PeakSampler,
    ) -> None:
        self._packages = packages
        self._sampler = sampler
        self._progress = progress
        self._stack = stack
        self._results: list[dict[str, ExportResult]] = [{} for _ in packages]
        self._warnings: list[list[str]] = [[] for _ in packages]
        self._errors: dict[int, EdgegenError] = {}
        self._costs: list[tuple[StageCost, tuple[int, ...]]] = []
        self._bar = stack.enter_context(ExitStack())
        self._step: Step = self._bar.enter_context(progress.step(TOOLKITS_STAGE))
        self._begin_stage(TOOLKITS_STAGE, tuple(range(len(packages))))

    def hear(self, event: Event) -> None:
        """Take one event of the worker."""
        match event["event"]:
            case "capture":
                self.end_stage()
                self._show(event["name"], event["packages"])
                self._begin_stage(f"capture {event['name']}", tuple(event["packages"]))
            case "captured":
                self._cpu_s = float(event["cpu_s"])
            case "component":
                self.end_stage()
                self._begin_stage(f"convert {event['name']}", (event["package"],))
            case "bytes":
                self._step.advance(int(event["done"]))
            case "step":
                self._hear_step(event["name"], event.get("total_bytes"))
            case "warning":
                for package in self._for:
                    self._warnings[package].append(str(event["text"]))
            case "converted":
                self._cpu_s = float(event["cpu_s"])
                self._results[event["package"]][str(event["name"])] = decode(
                    ExportResult, event["result"], source="the exporter's result"
                )
            case "failed":
                for package in event["packages"]:
                    self._errors.setdefault(package, error_from(event))

    def end_stage(self) -> None:
        """Write down what the stage under way cost."""
        peak_bytes = self._sampler.end_lap()
        cost = StageCost(
            stage=self._stage,
            wall_s=time.monotonic() - self._started_s,
            cpu_s=self._cpu_s,
            peak_memory_bytes=peak_bytes,
            packages=len(self._for),
        )
        self._costs.append((cost, self._for))

    def outcomes(
        self, error: EdgegenError | None, *, worker_cpu_s: float
    ) -> tuple[Conversion | EdgegenError, ...]:
        """Return what became of each package; `error` is what ended the worker."""
        (toolkits, every), *rest = self._costs
        shared_s = worker_cpu_s - sum(cost.cpu_s for cost, _ in rest)
        costs = [(replace(toolkits, cpu_s=max(0.0, shared_s)), every), *rest]
        found: list[Conversion | EdgegenError] = []
        for number, package in enumerate(self._packages):
            failure = self._errors.get(number)
            if failure is None and len(self._results[number]) < len(package.jobs):
                failure = error
            found.append(failure or self._conversion(number, costs))
        return tuple(found)

    def _conversion(
        self, package: int, costs: Sequence[tuple[StageCost, tuple[int, ...]]]
    ) -> Conversion:
        return Conversion(
            results=self._results[package],
            costs=tuple(cost for cost, packages in costs if package in packages),
            # an autoencoder's two halves say the same
            warnings=tuple(dict.fromkeys(self._warnings[package])),
        )

    def _show(self, component: str, packages: Sequence[int]) -> None:
        """Begin a bar for the artifacts of a component that share a capture."""
        self._bar.close()
        self._totals = {it: self._packages[it].expected_bytes[component] for it in packages}
        self._bar = self._stack.enter_context(ExitStack())
        self._step = self._bar.enter_context(
            self._progress.step(component, total=sum(self._totals.values()), unit="bytes")
        )

    def _hear_step(self, name: str, total_bytes: int | None) -> None:
        labels = [self._packages[it].label for it in self._for]
        label = labels[0] if len(labels) == 1 else ""
        self._step.describe(f"{label}: {name}" if label else name)
        if total_bytes is not None:
            self._totals[self._for[0]] = total_bytes
            self._step.total = float(sum(self._totals.values()))

    def _begin_stage(self, stage: str, packages: tuple[int, ...]) -> None:
        self._stage = stage
        self._for = packages
        self._cpu_s = 0.0
        self._started_s = time.monotonic()
