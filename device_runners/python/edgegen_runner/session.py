"""Makes images and tells how: the phases, the steps and the files of each."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import numpy.typing as npt

from . import __version__
from .backends import Backend
from .errors import RunnerFailure
from .events import Emit
from .job import GenerateJob
from .memory_guard import limit_memory
from .package import Package, load_package
from .pipelines import open_pipeline
from .pipelines.base import Pipeline
from .pipelines.denoiser import Conditioning
from .png import to_uint8, write_png
from .request import HIGHEST_SEED, Request
from .residency import Components

if TYPE_CHECKING:
    from .memory import MemorySampler

Pixels = npt.NDArray[np.uint8]

_LEFT: list[object] = []
"""Holds what is left to the system when the process ends."""

_DISK_HINT = "Free some space there, or choose another folder that can be written."


@dataclass(frozen=True)
class Image:
    """An image to make: its number, its seed and its prompt."""

    index: int
    seed: int
    prompt: Optional[str]
    warmup: bool


class Session:
    """Draws the images of one request, one after the other.

    Where components are held one at a time, the text of the image before is used again where it is
    the same, so that its encoder is not loaded anew.
    """

    def __init__(
        self,
        package: Package,
        backend: Backend,
        request: Request,
        residency: str,
        emit: Emit,
        decode_tile: Optional[int] = None,
    ) -> None:
        self._emit = emit
        self._request = request
        self._residency = residency
        lora = None
        if request.lora is not None:
            from .lora import load_lora

            lora = load_lora(request.lora, package)
        self.components = Components(package, backend, residency, emit, lora, decode_tile)
        self.pipeline: Pipeline = open_pipeline(self.components, request)
        self._encoded: Optional[tuple[Optional[str], Conditioning]] = None
        self._warned: set[str] = set()

    def load(self) -> None:
        """Load the components that the request needs, where they may all stay."""
        self.components.load(self.pipeline.components)

    def draw(
        self, image: Image, trajectory: Optional[Path] = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """Make an image, (height, width, channels), and the fields of its ``image_end``.

        With ``trajectory``, the latents after each step are written there.
        """
        start, load_s = time.perf_counter(), self.components.load_s
        runtime_s = self.components.runtime_s
        self._emit(
            "image_start",
            index=image.index,
            seed=image.seed,
            prompt=image.prompt,
            warmup=image.warmup,
        )
        conditioning = self._encode(image)
        with _Phase(self, image, "vae_encoder"):
            begin = self.pipeline.prepare(image.seed)
        latents = begin.latents
        with _Phase(self, image, "denoise"):
            for step in self.pipeline.denoise(conditioning, begin):
                latents = step.latents
                self._emit(
                    "step",
                    image=image.index,
                    index=step.index,
                    of=step.of,
                    timestep=step.timestep,
                    start=step.start,
                    end=step.end,
                    runtime_s=step.runtime_s,
                )
                if trajectory is not None:
                    np.save(trajectory / f"{image.index}.{step.index}.npy", latents)
        with _Phase(self, image, "vae_decoder"):
            decoded = self.pipeline.decode(latents)
        pixels = _to_pixels(decoded)
        end = time.perf_counter()
        fields = {
            "image": image.index,
            "start": start,
            "end": end,
            "load_s": self.components.load_s - load_s,
            "runtime_s": self.components.runtime_s - runtime_s,
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        }
        return pixels, fields

    def close(self) -> None:
        """Free every component."""
        self.components.close()

    def _encode(self, image: Image) -> Conditioning:
        if (
            self._residency != "all"
            and self._encoded is not None
            and self._encoded[0] == image.prompt
        ):
            return self._encoded[1]
        with _Phase(self, image, "text_encoder"):
            conditioning = self.pipeline.encode(image.prompt)
        for cut in conditioning.cut:
            if cut not in self._warned:
                self._warned.add(cut)
                message = f"The prompt is too long for the text encoder. This was cut: {cut!r}"
                self._emit("warning", message=message)
        self._encoded = (image.prompt, conditioning)
        return conditioning


class _Phase:
    """Tell a phase when it ends, if the runtime worked in it."""

    def __init__(self, session: Session, image: Image, name: str) -> None:
        self._session, self._image, self._name = session, image, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        self._runtime_s = self._session.components.runtime_s

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        runtime_s = self._session.components.runtime_s - self._runtime_s
        if error is None and runtime_s > 0:
            self._session._emit(
                "phase",
                image=self._image.index,
                name=self._name,
                start=self._start,
                end=time.perf_counter(),
                runtime_s=runtime_s,
            )


def generate(job: GenerateJob, backend: Backend, emit: Emit, *, is_last: bool = False) -> None:
    """Run a job: warm-ups, then images; write those that are to be kept.

    The components of the last job of a process are left for the system to take: to free them takes
    a while, and nobody waits for their memory. Raises RunnerFailure.
    """
    package = load_package(job.package, verify=job.verify, chip=job.backend.chip)
    for folder in (job.output, job.save_trajectory):
        if folder is not None:
            _make_folder(folder)
    doing = Doing()
    memory = limit = None
    if job.measure_memory:
        from .memory import MemorySampler

        memory = MemorySampler()
    if job.max_memory_bytes is not None:
        from .memory_limit import MemoryLimit

        kept = job.backend.optimized
        folders = (package.folder,) if kept is None else (package.folder, kept)
        limit = MemoryLimit(job.max_memory_bytes, folders, _end_beyond(job, emit, doing))
    sensors = None
    if job.sensor_interval_s:
        from .sensors.readers import SensorThread

        sensors = SensorThread(job.sensor_interval_s, emit)
    tell = emit
    if memory is not None:
        memory.start()
    if memory is not None or limit is not None:
        tell = _followed(emit, doing, memory)
    if limit is not None:
        limit.start()
    if sensors is not None:
        sensors.start()
    try:
        session = Session(package, backend, job.request, job.residency, tell, job.decode_tile)
        plan = session.pipeline.plan
        limit_memory(package, job.backend, plan.width, plan.height)
        if job.request.eta and not hasattr(session.pipeline.plan.scheduler, "eta"):
            name = session.pipeline.plan.scheduler.name
            emit("warning", message=f"{name} has no eta: it changes nothing.")
        try:
            session.load()
            for image in _images(job):
                pixels, fields = session.draw(image, None if image.warmup else job.save_trajectory)
                path = None
                if job.output is not None and not image.warmup:
                    path = _write(job, job.output, image, pixels, session)
                emit("image_end", **fields, path=None if path is None else str(path))
        finally:
            if is_last:
                _LEFT.append(session)
            else:
                session.close()
    finally:
        if limit is not None:
            limit.stop()
        if sensors is not None:
            sensors.stop()
        if memory is not None:
            emit("memory", **memory.stop())


class Doing:
    """What a session is doing, by what it has told: ``load``, or a phase of an image."""

    def __init__(self) -> None:
        self.phase = "load"

    def told(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take an event."""
        if event == "image_start":
            self.phase = "text_encoder"
        elif event == "phase" and fields["name"] in ("text_encoder", "vae_encoder"):
            self.phase = "denoise"
        elif event == "step":
            self.phase = "denoise" if fields["index"] + 1 < fields["of"] else "vae_decoder"


def _end_beyond(job: GenerateJob, emit: Emit, doing: Doing) -> Callable[[int], None]:
    """Return what ends this process where its limit of memory cannot be kept."""

    def end(held_bytes: int) -> None:
        emit(
            "error",
            kind="memory",
            message=f"The runner would take more than {_megabytes(job.max_memory_bytes or 0)} of "
            f"memory: it holds {_megabytes(held_bytes)}.",
            hint="Give --max-memory more, or draw a smaller image.",
            phase=doing.phase,
        )
        sys.stdout.flush()
        os._exit(1)  # the runtime is in the middle of a call

    return end


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"


def _followed(emit: Emit, doing: Doing, memory: Optional[MemorySampler]) -> Emit:
    """Return an emitter that follows what is done by what is told.

    It samples the memory at each event, when what was done is still held.
    """
    if memory is not None:
        memory.phase = doing.phase

    def emit_and_follow(event: str, **fields: Any) -> None:
        emit(event, **fields)
        if memory is not None:
            memory.sample()
        doing.told(event, fields)
        if memory is not None:
            memory.phase = doing.phase

    return emit_and_follow


def _images(job: GenerateJob) -> Iterator[Image]:
    prompts: tuple[Optional[str], ...] = job.request.prompts or (None,)
    seed = job.request.seed
    if seed + job.request.count - 1 > HIGHEST_SEED:
        raise RunnerFailure("bad-request", f"The seed {seed} leaves no room for the last image's.")
    for index in range(job.warmup_images):
        yield Image(index, seed, prompts[0], True)
    index, started, rounds = job.warmup_images, time.perf_counter(), 0
    while True:
        for prompt in prompts:
            for number in range(job.request.count):
                if _is_over(job, rounds, started):
                    return
                yield Image(index, seed + number, prompt, False)
                index += 1
        rounds += 1


def _is_over(job: GenerateJob, rounds: int, started: float) -> bool:
    if job.duration_s is None:
        return rounds >= job.repeat
    return rounds > 0 and time.perf_counter() - started >= job.duration_s


def _to_pixels(image: npt.NDArray[Any]) -> Pixels:
    try:
        pixels: Pixels = to_uint8(image)[0]
    except ValueError as error:
        raise RunnerFailure(
            "runtime",
            f"The image cannot be shown: {error}",
            "In float16 this is an overflow: use a recipe that computes in float32.",
        ) from error
    return pixels


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunnerFailure("disk", f"{folder} cannot be made: {error}.", _DISK_HINT) from error


def _write(job: GenerateJob, folder: Path, image: Image, pixels: Pixels, session: Session) -> Path:
    number = image.index - job.warmup_images
    name = f"{number:04d}-seed{image.seed}.png"
    if job.file_names is not None and number < len(job.file_names):
        name = job.file_names[number]
    path = folder / name
    try:
        write_png(path, pixels, _metadata(job.request, image, session))
    except OSError as error:
        raise RunnerFailure("disk", f"{path} cannot be written: {error}.", _DISK_HINT) from error
    return path


def _metadata(request: Request, image: Image, session: Session) -> dict[str, str]:
    """Return what is needed to draw the image again, as PNG text."""
    plan = session.pipeline.plan
    values = {
        "Software": f"edgegen-runner {__version__}",
        "prompt": image.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": image.seed,
        "steps": plan.steps,
        "guidance": f"{plan.guidance:g}" if image.prompt is not None else None,
        "scheduler": request.scheduler or plan.scheduler.name,
        "strength": None if request.strength is None else f"{request.strength:g}",
        "image_guidance": request.image_guidance,
        "noise_level": request.noise_level,
        "class_label": request.class_label,
        "arithmetic": " and ".join(session.components.arithmetics) or None,
    }
    texts = {name: str(value) for name, value in values.items() if value is not None}
    return {name: text.replace("\0", " ") for name, text in texts.items()}
