"""Makes golden cases in a process of their own; torch is never imported here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgegen.core.errors import EdgegenError
from edgegen.core.files import translate_disk_errors
from edgegen.core.memory import PeakSampler
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase, StageCost
from edgegen.core.progress import Progress, SilentProgress, Step
from edgegen.core.units import format_bytes
from edgegen.core.worker import Event, Finished, call
from edgegen.models.pipeline_source import SourceSpec, open_source
from edgegen.reference.case import (
    PROBE_BATCH,
    plan_case,
    predict_memory_bytes,
    probe_latent_size,
)
from edgegen.reference.child import GoldenJob, GoldenJobs

STAGE = "reference"
WORKER = "edgegen.reference.child"

RunGoldens = Callable[[GoldenJobs, Callable[[Event], None], PeakSampler], Finished]
"""Has golden cases made in some process; gets what hears of its events, and the memory's sampler.

It raises what `make_golden` does.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRequest:
    """A golden case to be made in `destination`: of the components of `spec`, and of a run.

    With `full` everything has the model's native size. `case` is run instead of the pipeline's own;
    without `probes` nothing else is.
    """

    spec: PipelineSpec
    destination: Path
    full: bool = False
    case: GoldenCase | None = None
    probes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRun:
    """A golden case that was made, and what it cost with those that were made before it.

    `peak_weight_bytes` are the most weights, as float32, that were in memory at once.
    """

    case: GoldenCase
    cost: StageCost
    peak_weight_bytes: int


def make_golden(
    spec: PipelineSpec,
    source: SourceSpec,
    destination: Path,
    *,
    full: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
) -> GoldenRun:
    """Run one golden case in torch, and write its files; see `make_goldens` and `GoldenRequest`.

    Raises SourceError where the model cannot be built or computes what is not finite,
    MissingDependencyError without torch, ResourceError where memory or disk ran out, and
    ExportError where the process died.
    """
    request = GoldenRequest(spec=spec, destination=destination, full=full)
    (made,) = make_goldens([request], source, progress=progress, log=log)
    if isinstance(made, EdgegenError):
        raise made
    return made


def make_goldens(
    requests: Sequence[GoldenRequest],
    source: SourceSpec,
    *,
    progress: Progress | None = None,
    log: Path | None = None,
    run: RunGoldens | None = None,
) -> tuple[GoldenRun | EdgegenError, ...]:
    """Run golden cases of one model in torch; return what became of each, in their order.

    `source` is the pipeline's. What cases have in common is computed once. A case that fails ends
    those after it. `run` has it done; default: in a process of its own, whose standard error goes
    to `log`.
    """
    configs = open_source(source).configs
    jobs = tuple(_job(request, configs) for request in requests)
    expected_bytes = max(predict_memory_bytes(job.spec, job.case) for job in jobs)
    made: list[StageCost] = []
    error: EdgegenError | None = None
    peak_bytes = 0
    with (
        (progress or SilentProgress()).step("reference in torch", unit="steps") as step,
        PeakSampler() as sampler,
    ):
        step.describe(f"about {format_bytes(expected_bytes)} of memory")
        started_s = time.monotonic()

        def on_event(event: Event) -> None:
            _show(step, event)
            if event["event"] == "made":
                made.append(
                    StageCost(
                        stage=STAGE,
                        wall_s=time.monotonic() - started_s,
                        cpu_s=float(event["cpu_s"]),
                        peak_memory_bytes=sampler.peak_pss_bytes,
                    )
                )

        job = GoldenJobs(source=source, cases=jobs)
        try:
            finished = (run or partial(_run, log))(job, on_event, sampler)
        except EdgegenError as ended:
            error = ended
        else:
            made[-1] = finished.cost
            peak_bytes = int(finished.done["peak_weight_bytes"])
    outcomes: list[GoldenRun | EdgegenError] = [
        GoldenRun(case=job.case, cost=cost, peak_weight_bytes=peak_bytes)
        for job, cost in zip(jobs, made, strict=False)
    ]
    if error is not None:
        outcomes += [error] * (len(jobs) - len(made))
    return tuple(outcomes)


def _run(
    log: Path | None, job: GoldenJobs, on_event: Callable[[Event], None], sampler: PeakSampler
) -> Finished:
    return call(WORKER, job, stage=STAGE, on_event=on_event, log=log, sampler=sampler)


def _job(request: GoldenRequest, configs: Path) -> GoldenJob:
    spec, destination, full = request.spec, request.destination, request.full
    case = request.case or plan_case(spec, configs, full=full, name=destination.name)
    height, width = probe_latent_size(spec, configs, full=full)
    with translate_disk_errors(destination.parent):
        destination.mkdir(parents=True, exist_ok=True)
    return GoldenJob(
        spec=spec,
        destination=str(destination.absolute()),
        case=case,
        latent_height=height,
        latent_width=width,
        # at its own size one picture takes as much memory as all the rest
        picture_batch=1 if full else PROBE_BATCH,
        probes=request.probes,
    )


def _show(step: Step, event: Event) -> None:
    if event["event"] == "total":
        step.total = event["steps"]
    elif event["event"] == "step":
        step.advance()
        step.describe(str(event["text"]))
