"""Teaches a pruned denoiser what its original computes, in a process of its own.

Output and features are distilled, as in BK-SDM (Kim et al., arXiv 2305.15798): the student's
prediction and the states of its blocks are pulled towards those of the original, each relative to
how much the original's vary. Its events are `step` (`text`) and `taught` (`seconds`, `text`).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgegen.core.codec import encode
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.scratch import ScratchFolder
from edgegen.core.worker import Emit, Event, serve
from edgegen.models.origin import Recovery
from edgegen.models.pipeline_source import open_source
from edgegen.pruning.recovery import Job

if TYPE_CHECKING:
    import torch

    from edgegen.pruning.lessons import Features, Lesson, Lessons
    from edgegen.pruning.student import Student

clock = time.monotonic
CHECKPOINT_S = 30.0
MOST_LOOKS = 24
"""So often the time is divided to look at what was held out."""
LOOK_STEPS = 8
"""At least so many steps lie between two looks."""
PATIENCE = 9
"""Looks without a better one, after which it is over."""
FEATURES_SHARE = 0.5
HELD_OUT_PROMPTS = 8
SMALL_NUMBERS = 50_000_000
"""A denoiser with fewer weights draws and learns from more pictures at once."""
BATCHES = (16, 2)


def _run(job: Job, emit: Emit) -> Event:
    import torch

    from edgegen.models.pipeline_source import FolderSource
    from edgegen.pruning.lessons import Features, Lessons
    from edgegen.pruning.student import Student
    from edgegen.reference.case import denoiser
    from edgegen.reference.modules import build_module
    from edgegen.reference.pipeline import load_reference

    component = denoiser(job.spec)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    emit("step", text="the original")
    torch.manual_seed(job.settings.seed)
    reference = load_reference(job.spec, open_source(job.source))
    for name, module in reference.modules.items():
        _hold(module, open_source(job.source), _of_folder(job.spec, name))
        module.to(device)
    teacher = reference.modules[component.folder]
    folder = Path(job.pruned) / component.folder
    network = build_module(folder, component.class_name)
    _hold(network, FolderSource(Path(job.pruned)), component)
    student = Student(network.to(device))
    with ScratchFolder("lessons") as scratch:
        lessons = Lessons(job.spec, reference.pipeline, component.folder, job.case, scratch)
        course = _Course(job, lessons, teacher, student)
        course.features = Features(teacher), Features(student.network)
        course.go(emit)
    _write(student, folder)
    standing = student.standing
    recovery = Recovery(
        seconds=round(standing.seconds, 3),
        steps=standing.step,
        batch=course.batch,
        prompts=len(course.prompts),
        device=device.type,
        loss_before=standing.loss_before,
        loss_after=standing.best,
        is_over=standing.patience >= PATIENCE,
    )
    return {"recovery": encode(recovery), "resumed": course.resumed_s}


class _Course:
    """The rounds of drawing and learning."""

    features: tuple[Features, Features]

    def __init__(self, job: Job, lessons: Lessons, teacher: Any, student: Student) -> None:
        prompts = job.settings.prompts or ("",)
        held = min(HELD_OUT_PROMPTS, max(1, len(prompts) // 4))
        self.prompts = prompts[held:] or prompts
        self._held_out_prompts = prompts[:held]
        numbers = sum(it.numel() for it in teacher.parameters())
        self.batch = BATCHES[0] if numbers <= SMALL_NUMBERS else BATCHES[1]
        self.resumed_s = 0.0
        self._job = job
        self._lessons = lessons
        self._teacher = teacher
        self._student = student

    def go(self, emit: Emit) -> None:
        """Learn until the time is over, or nothing gets better; go on from a checkpoint."""
        student, checkpoint = self._student, Path(self._job.checkpoint)
        total_s = self._job.settings.seconds
        emit("step", text="what is held out")
        held_out = self._lessons.drawn_by(self._teacher, self._held_out_prompts, -1)
        wanted = self._predicted(held_out)
        if student.load(checkpoint):
            self.resumed_s = student.standing.seconds
        else:
            student.standing.loss_before = self._look(held_out, wanted)
            student.looked_at(student.standing.loss_before)
        standing = student.standing
        emit("taught", seconds=standing.seconds, text=self._told())
        saved_s = looked_s = standing.seconds
        looked = standing.step
        last_s = clock()
        while standing.seconds < total_s and standing.patience < PATIENCE:
            standing.round += 1
            for lesson in self._round(standing.round):
                student.learn(self._loss(lesson), standing.seconds / total_s)
                now_s = clock()
                standing.seconds += now_s - last_s
                last_s = now_s
                is_over = standing.seconds >= total_s
                is_long_ago = standing.seconds - looked_s > total_s / MOST_LOOKS
                if is_over or (is_long_ago and standing.step - looked >= LOOK_STEPS):
                    student.looked_at(self._look(held_out, wanted))
                    looked_s, looked = standing.seconds, standing.step
                    emit("taught", seconds=standing.seconds, text=self._told())
                if is_over or standing.seconds - saved_s > CHECKPOINT_S:
                    student.save(checkpoint)
                    saved_s = standing.seconds
                    emit("step", text=self._told())
                if is_over or standing.patience >= PATIENCE:
                    break
        student.save(checkpoint)

    def _round(self, number: int) -> Sequence[Lesson]:
        """Return the lessons of a round: of the original's pictures, then of the student's."""
        chance = random.Random(f"{self._job.settings.seed} {number}")  # noqa: S311 - repeatable
        prompts = chance.choices(self.prompts, k=self.batch)
        drawer = self._teacher if number % 2 else self._student.average
        lessons = self._lessons.drawn_by(drawer, prompts, chance.getrandbits(31))
        chance.shuffle(lessons)
        return lessons

    def _loss(self, lesson: Lesson) -> torch.Tensor:
        import torch

        with torch.no_grad():
            wanted = lesson.ask(self._teacher)
        loss = _relative(lesson.ask(self._student.network), wanted)
        theirs, ours = (it.found for it in self.features)
        apart = [_relative(ours[path], theirs[path]) for path in theirs if path in ours]
        return loss + FEATURES_SHARE * sum(apart) / max(1, len(apart))

    def _predicted(self, lessons: Sequence[Lesson]) -> list[torch.Tensor]:
        import torch

        with torch.no_grad():
            return [lesson.ask(self._teacher) for lesson in lessons]

    def _look(self, lessons: Sequence[Lesson], wanted: Sequence[torch.Tensor]) -> float:
        """Return how far the student's average is from the original, on what was held out."""
        import torch

        average = self._student.average
        with torch.no_grad():
            errors = [
                float(_relative(lesson.ask(average), it))
                for lesson, it in zip(lessons, wanted, strict=True)
            ]
        return sum(errors) / len(errors)

    def _told(self) -> str:
        standing = self._student.standing
        return (
            f"step {standing.step}, apart by {standing.best:.2e}, {standing.loss_before:.2e} before"
        )


def _relative(value: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error, in units of the variance of what is wanted."""
    return (value - wanted).square().mean() / wanted.var().clamp(min=1e-12)


def _of_folder(spec: PipelineSpec, folder: str) -> Component:
    return next(it for it in spec.components if it.folder == folder)


def _hold(module: Any, source: Any, component: Component) -> None:
    """Give a module its weights as float32, in memory; what was one parameter stays one."""
    import numpy as np
    import torch

    from edgegen.models.binding import bind
    from edgegen.networks import network_of

    weights = source.weights(component.folder, component.variant)
    shapes = {name: tuple(it.shape) for name, it in module.named_parameters()}
    bound = bind(weights, shapes, network_of(component.class_name).keys)
    made: dict[int, torch.nn.Parameter] = {}
    for name, parameter in list(module.named_parameters(remove_duplicate=False)):
        path, _, attribute = name.rpartition(".")
        if id(parameter) not in made:
            tensor = bound[name]
            array = weights.array(tensor.key, np.float32).reshape(tensor.shape)
            held = torch.from_numpy(np.array(array, np.float32))
            made[id(parameter)] = torch.nn.Parameter(held, requires_grad=False)
        module.get_submodule(path)._parameters[attribute] = made[id(parameter)]


def _write(student: Student, folder: Path) -> None:
    """Put what was learned in place of a network's weights, in the types that they had."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    from edgegen.pruning.write import WEIGHTS_NAME

    place = folder / WEIGHTS_NAME
    with safe_open(place, "pt") as file:
        types = {name: file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    learned = {
        name: student.best[name].to("cpu", dtype).contiguous() for name, dtype in types.items()
    }
    beside = place.with_suffix(".part")
    save_file(learned, beside, {"format": "pt"})
    beside.replace(place)


if __name__ == "__main__":
    sys.exit(serve(Job, _run, extra="reference"))
