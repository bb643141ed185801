"""The artifact's side of parity: the runner that devices use, one process a job."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

from edgegen_runner.metrics import Array

from edgegen.core.errors import RunnerError
from edgegen.core.manifest import load_manifest
from edgegen.core.package import GoldenCase
from edgegen.reference import golden
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import Backend, GenerateJob, Job, ProbeJob, Request
from edgegen.runner.png import read_pixels
from edgegen.runner.protocol import ImageEnd
from edgegen.runner.session import RunnerSession

_IMAGE_FILE = "image.png"


class RunnerSide:
    """Computes with a package's artifacts in the runner, with mapped weights and little memory.

    The runtime is the one for the package's target, unless `backend` says another.
    """

    def __init__(self, package: Path, *, backend: Backend | None = None) -> None:
        self._package = str(package.absolute())
        self._chosen = backend
        self._cpu_s = 0.0

    @property
    def cpu_s(self) -> float:
        """Return the processor seconds of the processes that have ended."""
        return self._cpu_s

    def probe(self, component: str, inputs: Path, outputs: Path) -> None:
        """Run a component on the `<input>.npy` of a folder; write `<output>.npy` to another.

        Raises RunnerError, and what else the runner tells.
        """
        self._run(
            ProbeJob(
                package=self._package,
                component=component,
                inputs=str(inputs.absolute()),
                outputs=str(outputs.absolute()),
                backend=self._backend,
            )
        )

    def generate(self, case: GoldenCase, pictures: Path, trajectory: Path) -> Array:
        """Run the golden case from its seed and return its image's pixels.

        Raises RunnerError, and what else the runner tells.
        """
        place = trajectory.absolute()
        image = self._run(
            GenerateJob(
                package=self._package,
                request=make_request(case, pictures),
                output=str(place),
                file_names=(_IMAGE_FILE,),
                save_trajectory=str(place),
                residency="sequential",
                backend=self._backend,
            )
        )
        for path in place.glob("0.*.npy"):  # <image>.<call>.npy, and there is one image
            path.rename(place / path.name.removeprefix("0."))
        if image is None or image.path is None:
            raise RunnerError("The runner made no image.", hint="Pack the runner again.")
        pixels = read_pixels(Path(image.path))
        if hashlib.sha256(pixels.tobytes()).hexdigest() != image.sha256:
            raise RunnerError(
                f"{image.path} does not hold the pixels that the runner computed.",
                hint="Check the disk that holds the temporary folder.",
            )
        return pixels

    @property
    def _backend(self) -> Backend:
        if self._chosen is None:  # asked only now: a build writes the manifest after this is made
            manifest = load_manifest(Path(self._package))
            self._chosen = backend_here(manifest.target, Wishes(memory="lean"))
        return self._chosen

    def _run(self, job: Job) -> ImageEnd | None:
        """Run a job to its end and return the last image that it made."""
        session = RunnerSession()
        image = None
        try:
            with closing(session.events(job)) as events:
                for event in events:
                    image = event if isinstance(event, ImageEnd) else image
        finally:
            self._cpu_s += session.cpu_s or 0.0
        return image


def make_request(case: GoldenCase, pictures: Path) -> Request:
    """Return what the runner is asked to draw: the case, with every random number from its seed.

    First latents are not handed over: a sampler that draws noise at each step would then draw
    others than diffusers.
    """
    picture = mask = None
    if case.strength is not None:
        picture = str((pictures / golden.INPUT_IMAGE_NAME).absolute())
        path = (pictures / golden.MASK_IMAGE_NAME).absolute()
        mask = str(path) if path.is_file() else None
    return Request(
        prompts=None if case.prompt is None else (case.prompt,),
        negative_prompt=case.negative_prompt,
        steps=case.steps,
        guidance=case.guidance,
        scheduler=case.scheduler,
        seed=case.seed,
        width=case.width,
        height=case.height,
        image=picture,
        mask=mask,
        strength=case.strength,
    )
