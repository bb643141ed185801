"""Which jobs of the runner requests become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from edgegen_runner.png import write_png

from edgegen.core.errors import RunnerError
from edgegen.drawer import DrawRequest
from edgegen.runner import drawers
from edgegen.runner.job import Request
from edgegen.runner.session import ImageResult


class Runner:
    """Stands in for the runner: a picture of one value for each image, in the runner's order."""

    def __init__(self, sha256: str | None = None) -> None:
        self.jobs: list[Request] = []
        self._sha256 = sha256

    def __call__(self, jobs: Sequence[drawers._Images], folder: Path) -> list[ImageResult]:
        self.jobs += [job.request for job in jobs]
        wanted = [
            (prompt, job.request.seed + number)
            for job in jobs
            for prompt in job.request.prompts or (None,)
            for number in range(job.request.count)
        ]
        names = [name for job in jobs for name in job.names]
        assert len(set(names)) == len(names), "a picture would take the place of another"
        return [self._image(*it, folder / name) for it, name in zip(wanted, names, strict=True)]

    def _image(self, prompt: str | None, seed: int, path: Path) -> ImageResult:
        import hashlib

        pixels = np.full((4, 6, 1), value(prompt, seed), np.uint8)
        write_png(path, pixels)
        return ImageResult(
            path=str(path),
            prompt=prompt,
            seed=seed,
            width=6,
            height=4,
            latency_s=1.0,
            runtime_s=1.0,
            sha256=self._sha256 or hashlib.sha256(pixels.tobytes()).hexdigest(),
        )


def value(prompt: str | None, seed: int) -> int:
    return 10 * len(prompt or "") + seed


def drawn(requests: Sequence[DrawRequest]) -> Runner:
    runner = Runner()
    pictures = drawers._draw(requests, runner)
    assert [picture.shape for picture in pictures] == [(4, 6, 3)] * len(requests)
    assert [picture[0, 0, 0] for picture in pictures] == [
        value(request.prompt, request.seed) for request in requests
    ]
    return runner


def test_prompts_with_the_same_seeds_are_one_job() -> None:
    requests = [DrawRequest(prompt=prompt, seed=seed) for seed in (5, 4, 6) for prompt in "ab"]
    (job,) = drawn(requests).jobs
    assert (job.prompts, job.seed, job.count) == (("a", "b"), 4, 3)


def test_seeds_that_leave_a_gap_are_separate_jobs() -> None:
    jobs = drawn([DrawRequest(prompt="a", seed=seed) for seed in (0, 1, 7)]).jobs
    assert [(job.seed, job.count) for job in jobs] == [(0, 2), (7, 1)]


def test_requests_that_are_drawn_otherwise_are_separate_jobs() -> None:
    jobs = drawn([DrawRequest(prompt="a", steps=steps) for steps in (2, 3, 2)]).jobs
    assert [job.steps for job in jobs] == [2, 3]


def test_what_has_no_prompt_is_drawn_apart_from_what_has_one() -> None:
    jobs = drawn([DrawRequest(), DrawRequest(prompt=""), DrawRequest(seed=1)]).jobs
    assert [(job.prompts, job.count) for job in jobs] == [(None, 2), (("",), 1)]


def test_a_picture_that_is_not_what_the_runner_computed_is_refused() -> None:
    with pytest.raises(RunnerError, match="does not hold the pixels"):
        drawers._draw([DrawRequest(prompt="a")], Runner(sha256="0" * 64))
