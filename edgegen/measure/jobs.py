"""Writes the runner's job for a planned run."""

from __future__ import annotations

from edgegen.core.measurement import Workload
from edgegen.measure.planned_run import PlannedRun
from edgegen.runner.job import Backend, GenerateJob, GoldenJob, Job, Request, Sensors

SENSOR_INTERVAL_S = 1.0


def job_of(
    planned: PlannedRun,
    work: Workload,
    *,
    package: str,
    runtime: str,
    scheduler: str | None,
    output: str | None,
    verify: bool,
) -> Job:
    """Return the job of a run.

    `package` and `output` are folders on the device; `scheduler` is the one that was asked for.
    Sensors are read in the runs whose images are timed one after the other, memory in its own.
    """
    backend = Backend(
        name=runtime,
        providers=work.providers or None,
        threads=work.threads,
        memory=work.memory,
    )
    if planned.kind == "golden":
        return GoldenJob(package=package, residency=work.residency, backend=backend, verify=verify)
    request = Request(
        prompts=None if work.prompt is None else (work.prompt,),
        negative_prompt=work.negative_prompt,
        steps=work.steps,
        guidance=work.guidance,
        guidance_start=work.guidance_start,
        guidance_stop=work.guidance_stop,
        cache_interval=work.cache_interval,
        scheduler=scheduler,
        seed=work.seed,
        width=work.width,
        height=work.height,
    )
    is_timed = planned.kind in ("steady", "sustained")
    return GenerateJob(
        package=package,
        request=request,
        output=output,
        residency=work.residency,
        warmup_images=planned.warmup_images,
        repeat=planned.images,
        duration_s=planned.duration_s,
        backend=backend,
        sensors=Sensors(interval_s=SENSOR_INTERVAL_S) if is_timed else None,
        measure_memory=planned.kind == "memory",
        verify=verify,
    )
