"""A measurement that ends before its plan did: what was whole by then is kept."""

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest

from edgegen.core.errors import ConnectionLostError, RunnerError
from edgegen.measure.cut_short import CutShortError
from edgegen.measure.plan import BenchSettings, plan
from edgegen.measure.session import measure
from edgegen.report.html import page
from edgegen.report.terminal import headline, tables
from edgegen.runner.job import GenerateJob, GoldenJob, Job
from edgegen.runner.protocol import Event, ImageEnd
from edgegen.runner.session import RunnerSession
from edgegen.statistics.analysis import analyse
from tests.tiny_packages import onnx_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return onnx_package(tmp_path_factory.mktemp("cut") / "package")


def ended_by(
    end: BaseException | Callable[[Event], Event], *, after_images: int
) -> Callable[[Job], Generator[Event]]:
    """The real runner; in the middle of the image after some of all jobs, something ends it."""
    made = 0

    def runner(job: Job) -> Generator[Event]:
        nonlocal made
        for event in RunnerSession().events(job):
            if made == after_images and isinstance(job, GenerateJob | GoldenJob):
                if isinstance(end, BaseException):
                    raise end
                event = end(event)
            made += isinstance(event, ImageEnd)
            yield event

    return runner


@pytest.mark.parametrize(
    ("end", "reason", "sustained_s"),
    [
        (KeyboardInterrupt(), "Ctrl-C", 60.0),
        (SystemExit(143), "a signal", None),
        pytest.param(
            *(ConnectionLostError("The connection broke."), "The connection broke.", 60.0),
            marks=pytest.mark.slow,
        ),
        (RunnerError("The runner died."), "The runner died.", None),
    ],
)
def test_whole_images_are_kept_whatever_ends_it(
    package: Path, end: BaseException, reason: str, sustained_s: float | None
) -> None:
    settings = BenchSettings(images=30, steps=2, threads=1, sustained_s=sustained_s)
    with pytest.raises(CutShortError) as raised:
        measure(plan(package, settings), runner=ended_by(end, after_images=4))
    assert raised.value.__cause__ is end
    found = raised.value.measurement
    analysis = analyse(found)
    assert found.interrupted == reason
    assert [run.kind for run in found.runs] == ["cold", "sustained" if sustained_s else "steady"]
    assert [len(run.images) for run in found.runs] == [1, 3]
    assert f"INTERRUPTED ({reason})" in "\n".join(each.text for each in analysis.findings)
    assert headline(found).startswith("INTERRUPTED: ")
    assert tables(analysis)
    assert ">interrupted<" in page(analysis)


def test_what_ends_it_before_anything_was_timed_is_raised_as_it_is(package: Path) -> None:
    planned = plan(package, BenchSettings())
    with pytest.raises(KeyboardInterrupt):
        measure(planned, runner=ended_by(KeyboardInterrupt(), after_images=0))


def test_a_run_whose_clock_went_back_is_not_kept(package: Path) -> None:
    planned = plan(package, BenchSettings(images=9, steps=2, threads=1))
    back = ended_by(lambda event: replace(event, t=event.t - 100), after_images=3)
    with pytest.raises(CutShortError, match="clock went back") as raised:
        measure(planned, runner=back)
    assert [run.kind for run in raised.value.measurement.runs] == ["cold"]
