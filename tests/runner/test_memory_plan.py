"""The plan for a limit of memory: the ladder, what is measured of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgegen.core.codec import decode
from edgegen.core.errors import OutOfMemoryError
from edgegen.core.package import PackageManifest
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.memory_plan import MemoryPlan, fitting_plan, planned, plans
from tests.tiny_packages import manifest, packaged, tensor

GENERATION = {"width": 512, "height": 512, "latent_channels": 4, "guidance": 7.5}


def of(*, size: int | str = "height / 8", batch: int | str = "batch") -> PackageManifest:
    made = manifest(
        family="stable-diffusion",
        pipeline_class="StableDiffusionPipeline",
        generation=GENERATION,
        components=(
            packaged(
                "unet",
                "unet/model.onnx",
                [tensor("sample", batch, 4, "h", "w")],
                [tensor("out_sample", batch, 4, "h", "w")],
            ),
            packaged(
                "vae_decoder",
                "vae_decoder/model.onnx",
                [tensor("latent_sample", "batch", 4, size, size)],
                [tensor("sample", "batch", 3, "h", "w")],
            ),
        ),
    )
    return decode(PackageManifest, made, source="test")


JOB = GenerateJob(package="/package", request=Request(prompts=("a",), steps=25, count=3))
MB = 10**6


class Drawn:
    """Draws with what each plan is said to take, and keeps the jobs."""

    def __init__(self, *peaks: int) -> None:
        self.peaks = dict(zip(plans(JOB, of()), peaks, strict=True))
        self.jobs: list[GenerateJob] = []

    def __call__(self, job: GenerateJob) -> int:
        self.jobs.append(job)
        plan = MemoryPlan(
            residency=job.residency,
            memory=job.backend.memory or "auto",
            guidance_batch=job.request.guidance_batch or 2,
            decode_tile=job.decode_tile,
        )
        peak = self.peaks[plan]
        if job.max_memory_bytes is not None and peak > job.max_memory_bytes:
            raise OutOfMemoryError("It would take more.")
        return peak


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path))


def fit(limit_bytes: int, drawn: Drawn, **changes: Any) -> MemoryPlan:
    return fitting_plan(JOB, of(), limit_bytes, drawn, **{"place": "here", **changes}).plan


def test_the_ladder_goes_from_the_fastest_to_the_leanest() -> None:
    assert [plan.words for plan in plans(JOB, of())] == [
        "as always",
        "one component at a time",
        "one component at a time, guidance in two calls",
        "one component at a time, guidance in two calls, decoded in tiles of 32",
        "one component at a time, guidance in two calls, decoded in tiles of 16",
        "one component at a time, mapped weights, guidance in two calls, decoded in tiles of 16",
    ]


def test_what_a_package_or_the_user_does_not_allow_is_on_no_plan() -> None:
    assert all(plan.decode_tile is None for plan in plans(JOB, of(size=64)))
    assert all(plan.guidance_batch == 2 for plan in plans(JOB, of(batch=1)))
    unguided = GenerateJob(package="/package", request=Request(prompts=("a",), guidance=1.0))
    assert all(plan.guidance_batch == 2 for plan in plans(unguided, of()))
    fixed = GenerateJob(
        package="/package",
        residency="sequential",
        backend=Backend(memory="fast"),
        request=JOB.request,
    )
    found = {(plan.residency, plan.memory) for plan in plans(fixed, of())}
    assert found == {("sequential", "fast")}


def test_the_first_plan_that_keeps_within_the_limit_is_taken_and_measured_in_two_steps() -> None:
    drawn = Drawn(2000 * MB, 1500 * MB, 900 * MB, 600 * MB, 500 * MB, 400 * MB)
    plan = fit(1000 * MB, drawn)
    assert plan == plans(JOB, of())[2]
    assert [job.request.steps for job in drawn.jobs] == [2, 2, 2]
    assert all(job.request.count == 1 and job.output is None for job in drawn.jobs)
    assert all(job.max_memory_bytes == 1000 * MB for job in drawn.jobs)
    whole = planned(JOB, plan)
    assert (whole.request.count, whole.request.steps, whole.request.guidance_batch) == (3, 25, 1)


def test_what_was_measured_is_known_the_next_time_for_other_limits_too() -> None:
    drawn = Drawn(2000 * MB, 1500 * MB, 900 * MB, 600 * MB, 500 * MB, 400 * MB)
    fit(1000 * MB, drawn)
    assert fit(950 * MB, drawn) == plans(JOB, of())[2]
    assert len(drawn.jobs) == 3
    assert fit(700 * MB, drawn) == plans(JOB, of())[3]  # the others are known to be beyond
    assert len(drawn.jobs) == 4
    fit(1000 * MB, drawn, place="elsewhere")
    assert len(drawn.jobs) == 7


def test_a_peak_just_below_the_limit_leaves_no_room_for_another_measurement() -> None:
    drawn = Drawn(995 * MB, 900 * MB, 1, 1, 1, 1)
    assert fit(1000 * MB, drawn) == plans(JOB, of())[1]


def test_a_limit_that_nothing_keeps_is_refused_with_the_least_that_can_be_reached() -> None:
    drawn = Drawn(2000 * MB, 1500 * MB, 900 * MB, 600 * MB, 500 * MB, 400 * MB)
    with pytest.raises(OutOfMemoryError, match=r"the least is 400 MB .*tiles of 16") as refused:
        fit(300 * MB, drawn)
    assert "--max-memory 409MB" in refused.value.hint
    assert drawn.jobs[-1].max_memory_bytes is None
    assert fit(409 * MB, drawn) == plans(JOB, of())[5]
