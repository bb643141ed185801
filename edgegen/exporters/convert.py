"""Converts the components of a package in a worker, with progress and costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.codec import decode
from edgegen.core.memory import PeakSampler
from edgegen.core.package import StageCost
from edgegen.core.progress import Progress, Step
from edgegen.core.worker import Event, call
from edgegen.exporters.base import ExportJob, ExportJobs, ExportResult

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


def convert(
    jobs: Sequence[ExportJob],
    *,
    progress: Progress,
    expected_bytes: Mapping[str, int],
    log: Path,
) -> Conversion:
    """Convert components, each in a process of its own.

    `expected_bytes` is what the weights of each will take, for the progress bars; the worker
    corrects it. Raises what the exporter raises, and ExportError or ResourceError where it dies.
    """
    with ExitStack() as stack:
        follower = _Follower(progress, expected_bytes, stack)
        finished = call(
            "edgegen.exporters.child",
            ExportJobs(jobs=tuple(jobs)),
            stage="convert",
            on_event=follower.hear,
            log=log,
        )
        follower.end_stage()
    shared_s = finished.cost.cpu_s - sum(cost.cpu_s for cost in follower.costs)
    first, *rest = follower.costs
    toolkits = StageCost(
        stage=first.stage,
        wall_s=first.wall_s,
        cpu_s=max(0.0, shared_s),
        peak_memory_bytes=first.peak_memory_bytes,
    )
    warnings = tuple(dict.fromkeys(follower.warnings))  # an autoencoder's two halves say the same
    return Conversion(results=follower.results, costs=(toolkits, *rest), warnings=warnings)


class _Follower:
    """Hears a worker's events: one stage for the toolkits, then one a component."""

    def __init__(
        self, progress: Progress, expected_bytes: Mapping[str, int], stack: ExitStack
    ) -> None:
        self.results: dict[str, ExportResult] = {}
        self.costs: list[StageCost] = []
        self.warnings: list[str] = []
        self._progress = progress
        self._expected_bytes = expected_bytes
        self._stack = stack
        self._cpu_s = 0.0
        self._begin_stage(TOOLKITS_STAGE)

    def hear(self, event: Event) -> None:
        """Take one event of the worker."""
        if event["event"] == "component":
            self.end_stage()
            self._begin_stage(f"convert {event['name']}", str(event["name"]))
        elif event["event"] == "bytes":
            self._step.advance(int(event["done"]))
        elif event["event"] == "step":
            self._step.describe(str(event["name"]))
            if event.get("total_bytes") is not None:
                self._step.total = float(event["total_bytes"])
        elif event["event"] == "warning":
            self.warnings.append(str(event["text"]))
        elif event["event"] == "converted":
            self._cpu_s = float(event["cpu_s"])
            self.results[str(event["name"])] = decode(
                ExportResult, event["result"], source="the exporter's result"
            )

    def end_stage(self) -> None:
        """Write down what the stage under way cost."""
        self._inner.close()
        self.costs.append(
            StageCost(
                stage=self._stage,
                wall_s=time.monotonic() - self._started_s,
                cpu_s=self._cpu_s,
                peak_memory_bytes=self._sampler.peak_pss_bytes,
            )
        )

    def _begin_stage(self, stage: str, component: str | None = None) -> None:
        self._stage = stage
        self._cpu_s = 0.0
        self._started_s = time.monotonic()
        self._inner = self._stack.enter_context(ExitStack())
        self._step: Step = self._inner.enter_context(
            self._progress.step(stage)
            if component is None
            else self._progress.step(component, total=self._expected_bytes[component], unit="bytes")
        )
        self._sampler = self._inner.enter_context(PeakSampler())
