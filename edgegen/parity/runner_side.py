"""The artifact's side of parity: the runner that devices use, one process a package."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from edgegen_runner.kept import MOST_BYTES
from edgegen_runner.metrics import Array

from edgegen.core.errors import EdgegenError, RunnerError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import GoldenCase, PackageManifest
from edgegen.core.recipe import Arithmetic
from edgegen.parity.side import Draw, Outcome, Probe, Task
from edgegen.reference import golden
from edgegen.reference.case import SMALL_MODEL_PX
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import Backend, GenerateJob, ProbeJob, Request, SeriesJob, absolute
from edgegen.runner.png import drawn_pixels
from edgegen.runner.protocol import ImageEnd, Part
from edgegen.runner.session import RunnerSession

_IMAGE_FILE = "image.png"


class RunnerSide:
    """Computes with a package's artifacts in the runner, with mapped weights and little memory.

    The runtime is the one for the package's target, unless `backend` says another; it computes in
    `arithmetic`, by default as the recipe says, with the contexts of `chip`, of a package that was
    compiled for several, and with the LoRAs in `lora`, a file of `lora_for`. It has one thread for
    a small package: threads that wait for their share of little work take more of the processor
    than the work does.
    """

    def __init__(
        self,
        package: Path,
        *,
        backend: Backend | None = None,
        arithmetic: Arithmetic | None = None,
        chip: str | None = None,
        lora: Path | None = None,
    ) -> None:
        self._package = str(package.absolute())
        self._arithmetic = arithmetic
        self._chip = chip
        self._lora = absolute(lora)
        self._chosen = backend
        self._cpu_s = 0.0

    @property
    def cpu_s(self) -> float:
        """Return the processor seconds of the tasks that are done."""
        return self._cpu_s

    def work(self, tasks: Sequence[Task]) -> Generator[Outcome]:
        """Do the tasks; see `ArtifactSide`.

        They share a process. One that fails ends it, and the others go on in another.
        """
        done = 0
        while done < len(tasks):
            try:
                with closing(self._in_one_process(tasks[done:])) as outcomes:
                    for outcome in outcomes:
                        done += 1
                        yield outcome
            except EdgegenError as error:
                _name_steps(tasks[done])  # of an image that failed in its last part
                done += 1
                yield error

    def _in_one_process(self, tasks: Sequence[Task]) -> Generator[Outcome]:
        before_s = self._cpu_s
        done = 0
        image: ImageEnd | None = None
        outcome: Outcome = None
        session = RunnerSession()
        try:
            backend = self._backend(tasks)
            jobs = SeriesJob(jobs=tuple(self._job(task, backend) for task in tasks))
            with closing(session.events(jobs)) as events:
                for event in events:
                    if isinstance(event, ImageEnd):
                        image = event
                    elif isinstance(event, Part):
                        self._cpu_s = before_s + event.cpu_s
                        outcome, image = _outcome(tasks[event.index], image), None
                        done = event.index + 1
                        if done < len(tasks):
                            yield outcome
        finally:
            self._cpu_s = before_s + (session.cpu_s or 0.0)
        if done < len(tasks):
            raise RunnerError(
                "The runner ended before its jobs were done.", hint="Pack the runner again."
            )
        yield outcome  # of the last, once its process has ended well

    def _job(self, task: Task, backend: Backend) -> ProbeJob | GenerateJob:
        if isinstance(task, Probe):
            return ProbeJob(
                package=self._package,
                component=task.component,
                inputs=str(task.inputs.absolute()),
                outputs=str(task.outputs.absolute()),
                lora=self._lora,
                backend=backend,
            )
        place = str(task.place.absolute())
        return GenerateJob(
            package=self._package,
            request=replace(make_request(task.case, task.pictures), lora=self._lora),
            output=place,
            file_names=(_IMAGE_FILE,),
            save_trajectory=place,
            residency="sequential",
            backend=backend,
        )

    def _backend(self, tasks: Sequence[Task]) -> Backend:
        if self._chosen is not None:
            return self._chosen
        # Only when there is work: an unknown runtime is a task's outcome.
        manifest = load_manifest(Path(self._package))
        threads = 1 if _is_small(manifest, tasks) else None
        wishes = Wishes(
            memory="lean", threads=threads, arithmetic=self._arithmetic, chip=self._chip
        )
        return backend_here(manifest.runs_as, wishes)


def _is_small(manifest: PackageManifest, tasks: Sequence[Task]) -> bool:
    sizes = [max(it.case.width, it.case.height) for it in tasks if not isinstance(it, Probe)]
    weights_bytes = sum(it.storage_bytes for it in manifest.components)
    return weights_bytes <= MOST_BYTES and max(sizes, default=0) <= SMALL_MODEL_PX


def _outcome(task: Task, image: ImageEnd | None) -> Array | None:
    """Return the pixels of what was drawn, None for a probe; raise RunnerError without an image."""
    if isinstance(task, Probe):
        return None
    _name_steps(task)
    if image is None:
        return drawn_pixels(None, None)
    return drawn_pixels(image.path, image.sha256)


def _name_steps(task: Task) -> None:
    """Name the latents by their call alone: of <image>.<call>.npy, and there is one image."""
    if isinstance(task, Draw):
        for path in task.place.glob("0.*.npy"):
            path.rename(path.with_name(path.name.removeprefix("0.")))


def make_request(case: GoldenCase, pictures: Path) -> Request:
    """Return what the runner is asked to draw: the case, with every random number from its seed.

    The scheduler is left to the package: were it another one than torch's, that is to be found.
    First latents are not handed over: a sampler that draws noise at each step would then draw
    others than diffusers.
    """
    given = {name: str(path.absolute()) for name, path in golden.start_pictures(pictures).items()}
    return Request(
        prompts=None if case.prompt is None else (case.prompt,),
        negative_prompt=case.negative_prompt,
        steps=case.steps,
        guidance=case.guidance,
        guidance_start=case.guidance_start,
        guidance_stop=case.guidance_stop,
        cache_interval=case.cache_interval,
        seed=case.seed,
        width=case.width,
        height=case.height,
        image=given.get("image"),
        mask=given.get("mask"),
        depth=given.get("depth"),
        strength=case.strength,
        control=tuple(str(it.absolute()) for it in golden.control_pictures(pictures)) or None,
        image_guidance=case.image_guidance,
        noise_level=case.noise_level,
        class_label=case.class_label,
        picture_prompt=given.get("picture_prompt"),
    )
