"""Writes the runner's job for a planned run."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from edgegen.core.measurement import Workload
from edgegen.measure.planned_run import PlannedRun
from edgegen.runner.job import Backend, GenerateJob, GoldenJob, Job, Request, Sensors

SENSOR_INTERVAL_S = 1.0
CONTROL = "control."
"""What the names of pictures that steer begin with."""


def job_of(
    planned: PlannedRun,
    work: Workload,
    *,
    package: str,
    pictures: Mapping[str, str],
    class_label: int | None,
    lora: str | None,
    runtime: str,
    scheduler: str | None,
    output: str | None,
    verify: bool,
) -> Job:
    """Return the job of a run.

    `package` and `output` are folders on the device; `pictures` are files of the package that
    images start from or are steered by, by the runner's names, `class_label` the class of images,
    where there are some; `lora` is a file there with what the layers get, `scheduler` the one that
    was asked for. Sensors are read in the runs whose images are timed one after the other, memory
    in its own.
    """
    backend = Backend(
        name=runtime,
        providers=work.providers or None,
        threads=work.threads,
        memory=work.memory,
        arithmetic=work.arithmetic,
    )
    if planned.kind == "golden":
        return GoldenJob(package=package, residency=work.residency, backend=backend, verify=verify)
    given = {name: posixpath.join(package, path) for name, path in pictures.items()}
    request = Request(
        prompts=None if work.prompt is None else (work.prompt,),
        negative_prompt=work.negative_prompt,
        steps=work.steps,
        guidance_batch=work.guidance_batch,
        guidance=work.guidance,
        guidance_start=work.guidance_start,
        guidance_stop=work.guidance_stop,
        cache_interval=work.cache_interval,
        scheduler=scheduler,
        seed=work.seed,
        width=work.width,
        height=work.height,
        image=given.get("image"),
        mask=given.get("mask"),
        depth=given.get("depth"),
        control=tuple(given[it] for it in given if it.startswith(CONTROL)) or None,
        class_label=class_label,
        picture_prompt=given.get("picture_prompt"),
        lora=lora,
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
        max_memory_bytes=work.max_memory_bytes,
        decode_tile=work.decode_tile,
        verify=verify,
    )
