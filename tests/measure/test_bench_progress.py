"""How far a run is, as the user sees it."""

from edgegen.cli.plain_progress import PlainStep
from edgegen.measure.planned_run import PlannedRun
from edgegen.measure.progress import RunProgress, unit_of
from edgegen.runner.protocol import ImageEnd, ImageStart, Step

LASTING = PlannedRun(
    kind="sustained", title="sustained images", images=1, warmup_images=1, duration_s=100.0
)


def image(progress: RunProgress, index: int, start_s: float, steps: int = 4) -> None:
    """Play an image of steps of 5 s."""
    progress.take(ImageStart(t=start_s, index=index, seed=0, prompt=None, warmup=index == 0))
    for step in range(steps):
        end_s = start_s + 5.0 * (step + 1)
        progress.take(
            Step(
                t=end_s, image=index, index=step, of=steps, timestep=1.0, start=end_s - 5,
                end=end_s, runtime_s=5.0,
            )
        )  # fmt: skip
    end_s = start_s + 5.0 * steps
    progress.take(
        ImageEnd(
            t=end_s, image=index, start=start_s, end=end_s, load_s=0.0, runtime_s=end_s - start_s,
            width=8, height=8, sha256="ab", path=None,
        )
    )  # fmt: skip


def test_a_run_that_lasts_shows_the_share_of_its_time_and_what_is_left() -> None:
    step = PlainStep("sustained images", None, unit_of(LASTING), lambda line: None)
    progress = RunProgress(step, LASTING)
    image(progress, 0, 10.0)  # the warm-up is not in the time
    assert step.done == 0
    image(progress, 1, 30.0)
    image(progress, 2, 50.0)
    assert (step.done, step.total) == (40.0, 100.0)
    line = step._line(60.0)
    assert line == (
        "sustained images: 40 %, 40.0 s of 100 s, 60.0 s left, image 2, the last one in 20 s"
    )


def test_the_last_image_may_take_longer_than_the_time_that_is_left() -> None:
    step = PlainStep("sustained images", None, unit_of(LASTING), lambda line: None)
    progress = RunProgress(step, LASTING)
    image(progress, 0, 0.0)
    image(progress, 1, 20.0, steps=30)
    assert step.done == 100.0
    assert "left" not in step._line(170.0)
    assert "the last image" in step._line(170.0)
