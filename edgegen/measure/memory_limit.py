"""The workload of a benchmark whose images keep within a limit of memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing

from edgegen.core.manifest import load_manifest
from edgegen.core.measurement import Workload
from edgegen.core.units import format_bytes
from edgegen.measure.jobs import job_of
from edgegen.measure.plan import BenchPlan
from edgegen.measure.planned_run import PlannedRun
from edgegen.measure.site import Site
from edgegen.runner.job import GenerateJob
from edgegen.runner.memory_plan import Peak, fitting_plan
from edgegen.runner.protocol import Memory
from edgegen.runner.session import RunnerSession


def work_within(
    plan: BenchPlan,
    work: Workload,
    runtime: str,
    site: Site,
    *,
    patience_s: float | None,
    say: Callable[[str], None] | None,
) -> Workload:
    """Return a workload as the fastest plan does it that keeps within its limit of memory.

    Raises OutOfMemoryError where none does.
    """
    limit_bytes = work.max_memory_bytes
    assert limit_bytes is not None
    job = job_of(
        PlannedRun(kind="memory", title="memory", images=1),
        work,
        package=site.package,
        pictures=plan.pictures,
        class_label=plan.class_label,
        lora=site.lora,
        runtime=runtime,
        scheduler=plan.scheduler,
        output=None,
        verify=False,
    )
    assert isinstance(job, GenerateJob)

    def peak_of(trial: GenerateJob) -> Peak:
        session = RunnerSession(device=site.device, patience_s=patience_s)
        peak = Peak(pss_bytes=None)
        with closing(session.events(trial)) as events:
            for event in events:
                if isinstance(event, Memory):
                    peak = Peak(pss_bytes=event.peak_pss_bytes, phase=event.peak_phase)
        return peak

    fitting = fitting_plan(
        job,
        load_manifest(plan.package),
        limit_bytes,
        peak_of,
        place=f"{site.device.address} {plan.identity.manifest_sha256}",
        say=None if say is None else lambda text: say(f"Memory: {text}"),
    )
    taken = fitting.plan
    if say is not None:
        expected = f"{format_bytes(fitting.peak_bytes)} of {format_bytes(limit_bytes)} expected"
        say(f"Memory: {taken.words}, {expected}.")
    return dataclasses.replace(
        work,
        residency=taken.residency,
        memory=taken.memory,
        guidance_batch=taken.guidance_batch,
        decode_tile=taken.decode_tile,
    )
