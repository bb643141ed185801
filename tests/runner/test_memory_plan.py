"""The plan for a limit of memory: the ladder, what is measured of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.codec import decode
from edgegen.core.errors import OutOfMemoryError
from edgegen.core.package import Artifact, PackageManifest
from edgegen.runner.job import Backend, GenerateJob, Request
from edgegen.runner.memory_plan import MemoryPlan, Peak, fitting_plan, planned, remedies
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


AS_ALWAYS = MemoryPlan()
IN_TURN = MemoryPlan(residency="sequential")
IN_TWO_CALLS = MemoryPlan(residency="sequential", guidance_batch=1)


class Drawn:
    """Draws with what phases take, and keeps the jobs.

    Weights are for all phases where all components stay, or nearly all; guidance in two calls
    halves what the denoiser takes, and each halving of a tile's side what the decoder takes. Mapped
    weights take a third.
    """

    def __init__(self, weights: int, denoise: int, decode: int) -> None:
        self.weights, self.denoise, self.decode = weights, denoise, decode
        self.jobs: list[GenerateJob] = []

    def __call__(self, job: GenerateJob) -> Peak:
        self.jobs.append(job)
        weights = self.weights * {"all": 100, "drawing": 99}.get(job.residency, 50) // 100
        if job.backend.memory == "lean":
            weights //= 3
        phases = {
            "denoise": weights + self.denoise // (1 if job.request.guidance_batch != 1 else 2),
            "vae_decoder": weights + self.decode * (job.decode_tile or 64) // 64,
        }
        for phase, taken in phases.items():
            if job.max_memory_bytes is not None and taken > job.max_memory_bytes:
                error = OutOfMemoryError("It would take more.")
                error.phase = phase
                raise error
        phase = max(phases, key=phases.__getitem__)
        return Peak(pss_bytes=phases[phase], phase=phase)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEGEN_CACHE_DIR", str(tmp_path))


def fit(limit_bytes: int, drawn: Drawn, **changes: Any) -> MemoryPlan:
    return fitting_plan(JOB, of(), limit_bytes, drawn, **{"place": "here", **changes}).plan


def test_what_can_be_done_is_ordered_by_what_it_costs() -> None:
    assert [(dict(it.change), it.phases) for it in remedies(JOB, of())] == [
        ({"residency": "drawing"}, frozenset()),
        ({"residency": "sequential"}, frozenset()),
        ({"guidance_batch": 1}, {"denoise"}),
        ({"decode_tile": 32}, {"vae_decoder"}),
        ({"decode_tile": 16}, {"vae_decoder"}),
        ({"memory": "lean"}, frozenset()),
    ]


def test_parts_are_held_one_at_a_time_and_litert_maps_at_no_cost() -> None:
    cut = replace(of(), files=(Artifact(path="unet/model.2.tflite", sha256="0", size_bytes=1),))
    job = replace(JOB, backend=Backend(name="ai_edge_litert"))
    changes = [dict(it.change) for it in remedies(job, cut)]
    assert changes[:3] == [
        *({"residency": it} for it in ("drawing", "sequential")),
        {"memory": "lean"},
    ]
    assert changes[-1] == {"residency": "parts"}
    assert changes.count({"memory": "lean"}) == 1
    assert {"residency": "parts"} not in [dict(it.change) for it in remedies(job, of())]


def test_for_one_image_what_draws_need_not_stay() -> None:
    once = replace(JOB, request=replace(JOB.request, count=1))
    assert remedies(once, of())[0].change == {"residency": "sequential"}
    again = replace(once, repeat=2)
    assert remedies(again, of())[0].change == {"residency": "drawing"}


def test_what_a_package_or_the_user_does_not_allow_is_no_remedy() -> None:
    def changes(job: GenerateJob, package: PackageManifest) -> set[str]:
        return {name for it in remedies(job, package) for name in it.change}

    assert "decode_tile" not in changes(JOB, of(size=64))
    assert "guidance_batch" not in changes(JOB, of(batch=1))
    unguided = GenerateJob(package="/package", request=Request(prompts=("a",), guidance=1.0))
    assert "guidance_batch" not in changes(unguided, of())
    fixed = GenerateJob(
        package="/package",
        residency="sequential",
        backend=Backend(memory="fast"),
        request=JOB.request,
    )
    assert changes(fixed, of()) == {"guidance_batch", "decode_tile"}


def test_the_first_plan_that_keeps_within_the_limit_is_taken_and_measured_in_two_steps() -> None:
    drawn = Drawn(1000 * MB, 800 * MB, 300 * MB)
    assert fit(1000 * MB, drawn) == IN_TWO_CALLS
    assert [job.request.steps for job in drawn.jobs] == [2, 2, 2, 2]
    assert all(job.request.count == 1 and job.output is None for job in drawn.jobs)
    assert all(job.max_memory_bytes == 1000 * MB for job in drawn.jobs)
    whole = planned(JOB, IN_TWO_CALLS)
    assert (whole.request.count, whole.request.steps, whole.request.guidance_batch) == (3, 25, 1)


def test_the_phase_that_takes_most_gets_its_own_remedy_first() -> None:
    drawn = Drawn(1000 * MB, 300 * MB, 800 * MB)
    assert fit(1000 * MB, drawn) == MemoryPlan(residency="sequential", decode_tile=32)
    assert all(job.request.guidance_batch != 1 for job in drawn.jobs)


def test_each_phase_gets_its_remedy_where_several_take_too_much() -> None:
    drawn = Drawn(1000 * MB, 700 * MB, 1600 * MB)
    plan = fit(1000 * MB, drawn)
    assert plan == MemoryPlan(residency="sequential", guidance_batch=1, decode_tile=16)
    order = [(job.residency, job.request.guidance_batch, job.decode_tile) for job in drawn.jobs]
    assert order == [
        ("all", 2, None),
        ("drawing", 2, None),
        ("sequential", 2, None),
        ("sequential", 1, None),
        ("sequential", 1, 32),
        ("sequential", 1, 16),
    ]


def test_a_phase_that_nobody_tells_gets_every_remedy_in_turn() -> None:
    def of_old(job: GenerateJob) -> Peak:
        return Peak(pss_bytes=300 * MB if job.decode_tile == 32 else 900 * MB)

    plan = fitting_plan(JOB, of(), 500 * MB, of_old, place="here").plan
    assert plan == MemoryPlan(residency="sequential", guidance_batch=1, decode_tile=32)


def test_what_was_measured_is_known_the_next_time_for_other_limits_too() -> None:
    drawn = Drawn(1000 * MB, 800 * MB, 300 * MB)
    fit(1000 * MB, drawn)
    assert fit(950 * MB, drawn) == IN_TWO_CALLS
    assert len(drawn.jobs) == 4
    assert fit(700 * MB, drawn).memory == "lean"  # the others are known to be beyond
    assert len(drawn.jobs) == 5
    fit(1000 * MB, drawn, place="elsewhere")
    assert len(drawn.jobs) == 9


def test_a_peak_just_below_the_limit_leaves_no_room_for_another_measurement() -> None:
    drawn = Drawn(600 * MB, 395 * MB, 100 * MB)
    assert fit(1000 * MB, drawn) == IN_TURN


def test_a_limit_that_nothing_keeps_is_refused_with_the_least_that_can_be_reached() -> None:
    drawn = Drawn(600 * MB, 600 * MB, 400 * MB)
    with pytest.raises(OutOfMemoryError, match=r"the least is 400 MB .*tiles of 16") as refused:
        fit(300 * MB, drawn)
    assert "--max-memory 409MB" in refused.value.hint
    assert drawn.jobs[-1].max_memory_bytes is None
    assert fit(409 * MB, drawn).memory == "lean"


def test_what_is_known_is_said() -> None:
    said: list[str] = []
    fit(1000 * MB, Drawn(1000 * MB, 300 * MB, 800 * MB), say=said.append)
    assert said == [
        "as always: more than 1.00 GB in the denoiser",
        "the prompt's encoders let go: more than 1.00 GB in the denoiser",
        "one component at a time: more than 1.00 GB in the decoder",
        "one component at a time, decoded in tiles of 32: 900 MB, most in the decoder",
    ]


def test_the_least_is_what_was_reached_near_a_limit() -> None:
    """Without a limit no mapped pages are given back, and the leanest plan takes more."""

    def drawn(job: GenerateJob) -> Peak:
        if job.max_memory_bytes is None:
            return Peak(pss_bytes=500 * MB, phase="denoise")
        if job.max_memory_bytes < 400 * MB or job.backend.memory != "lean":
            raise OutOfMemoryError("It would take more.")
        return Peak(pss_bytes=390 * MB, phase="denoise")

    assert fitting_plan(JOB, of(), 400 * MB, drawn, place="here").peak_bytes == 390 * MB
    with pytest.raises(OutOfMemoryError, match="the least is 390 MB"):
        fitting_plan(JOB, of(), 300 * MB, drawn, place="here")
