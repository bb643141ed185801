"""Shows how far a run is: steps and images, or the share of its time and what is left."""

from __future__ import annotations

from edgegen.core.progress import Step, Unit
from edgegen.measure.planned_run import PlannedRun
from edgegen.runner.protocol import Check, Event, ImageEnd, ImageStart, Load
from edgegen.runner.protocol import Step as StepDone


def unit_of(planned: PlannedRun) -> Unit:
    """Return what a run is counted in: steps, or seconds where it lasts for a time."""
    return "steps" if planned.duration_s is None else "seconds"


class RunProgress:
    """Follows the events of one run.

    The time of a run that lasts counts, as it does for the runner, from the end of the warm-up on.
    """

    def __init__(self, step: Step, planned: PlannedRun) -> None:
        self._step = step
        self._planned = planned
        self._began_s: float | None = None
        self._shown_s = 0.0
        self._image_s: float | None = None
        self._is_warmup = False

    def take(self, event: Event) -> None:
        match event:
            case Load():
                self._step.describe(event.component)
            case Check():
                self._step.describe(f"{event.layer} {event.name}")
            case ImageStart():
                self._begin(event)
            case ImageEnd():
                self._image_s = event.end - event.start - event.load_s
            case StepDone() if self._planned.duration_s is None:
                images = self._planned.images + self._planned.warmup_images
                self._step.total = images * event.of
                self._step.advance()
            case StepDone():
                self._last(event)
            case _:
                pass

    def _begin(self, event: ImageStart) -> None:
        self._is_warmup = event.warmup
        if self._planned.duration_s is not None:
            self._step.total = self._planned.duration_s
            if self._began_s is None and not event.warmup:
                self._began_s = event.t
            self._step.describe(self._image(event.index))
            return
        images = self._planned.images + self._planned.warmup_images
        self._step.describe(f"image {event.index + 1} of {images}" if images > 1 else "")

    def _image(self, index: int) -> str:
        if self._is_warmup:
            return "the warm-up image"
        number = index - self._planned.warmup_images + 1
        return f"image {number}" + (
            "" if self._image_s is None else f", the last one in {self._image_s:.3g} s"
        )

    def _last(self, event: StepDone) -> None:
        """Count the time since the end of the warm-up; the last image may take longer."""
        assert self._planned.duration_s is not None
        if self._began_s is None:
            self._step.advance(0)
            return
        passed_s = event.end - self._began_s
        if passed_s >= self._planned.duration_s:
            passed_s = self._planned.duration_s
            self._step.describe("the last image goes on to its end")
        self._step.advance(max(0.0, passed_s - self._shown_s))
        self._shown_s = max(self._shown_s, passed_s)
