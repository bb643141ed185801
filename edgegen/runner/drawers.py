"""Draws requests with a package: in the runner here, or on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from edgegen.core.manifest import load_manifest
from edgegen.core.scratch import ScratchFolder
from edgegen.devices.device import Device
from edgegen.devices.store import Stored
from edgegen.drawer import DrawRequest, Pixels, drawn_together, rgb
from edgegen.runner.backend_choice import Wishes, backend_here
from edgegen.runner.job import GenerateJob, Request, Residency, SeriesJob, absolute
from edgegen.runner.png import drawn_pixels
from edgegen.runner.remote import generate_there
from edgegen.runner.session import ImageResult, generate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Images:
    """A job of the runner: the images of a request, and their names in a folder."""

    request: Request
    names: tuple[str, ...]


Run = Callable[[Sequence[_Images], Path], list[ImageResult]]
"""Makes the images of several jobs in a folder, and returns them in their order."""


class PackageDrawer:
    """Draws with a package on this machine, in one process of the runner."""

    def __init__(
        self, package: Path, *, wishes: Wishes | None = None, residency: Residency = "all"
    ) -> None:
        self._package = str(package.absolute())
        self._backend = backend_here(load_manifest(package).runs_as, wishes or Wishes())
        self._residency: Residency = residency

    def draw(self, requests: Sequence[DrawRequest]) -> list[Pixels]:
        """Draw each request. Raises what the runner raises."""

        def run(wanted: Sequence[_Images], folder: Path) -> list[ImageResult]:
            jobs = tuple(
                GenerateJob(
                    package=self._package,
                    request=each.request,
                    output=str(folder),
                    file_names=each.names,
                    residency=self._residency,
                    backend=self._backend,
                )
                for each in wanted
            )
            return generate(SeriesJob(jobs=jobs))

        return _draw(requests, run)


class DeviceDrawer:
    """Draws on a connected device, with a package that was pushed there (`push_package`).

    `lora` is a file of `lora_for`, which is sent there.
    """

    def __init__(
        self,
        device: Device,
        stored: Stored,
        *,
        wishes: Wishes | None = None,
        residency: Residency = "all",
        patience_s: float | None = None,
        lora: Path | None = None,
    ) -> None:
        self._device = device
        self._lora = absolute(lora)
        self._stored = stored
        self._wishes = wishes or Wishes()
        self._residency: Residency = residency
        self._patience_s = patience_s

    def draw(self, requests: Sequence[DrawRequest]) -> list[Pixels]:
        """Draw each request there. Raises what the runner and the connection raise."""

        def run(wanted: Sequence[_Images], folder: Path) -> list[ImageResult]:
            images: list[ImageResult] = []
            for each in wanted:
                images += generate_there(
                    self._device,
                    self._stored,
                    GenerateJob(
                        package=self._stored.path,
                        request=replace(each.request, lora=self._lora),
                        residency=self._residency,
                    ),
                    folder,
                    each.names,
                    wishes=self._wishes,
                    patience_s=self._patience_s,
                )
            return images

        return _draw(requests, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seeds:
    """Successive seeds, of prompts or of what is drawn without one."""

    first: int
    count: int
    of_texts: bool


def _draw(requests: Sequence[DrawRequest], run: Run) -> list[Pixels]:
    pictures: dict[DrawRequest, Pixels] = {}
    for settings, alike in drawn_together(requests).items():
        drawn: list[DrawRequest] = []
        wanted: list[_Images] = []
        for seeds, prompts in _jobs(alike).items():
            of_job = [
                replace(settings, prompt=prompt, seed=seeds.first + number)
                for prompt in prompts
                for number in range(seeds.count)
            ]
            names = tuple(f"{len(drawn) + index}.png" for index in range(len(of_job)))
            wanted.append(_Images(request=_request(settings, prompts, seeds), names=names))
            drawn += of_job
        with ScratchFolder("pictures") as folder:
            images = run(wanted, folder)
            pictures |= zip(drawn, map(_pixels, images), strict=True)
    return [pictures[request] for request in requests]


def _jobs(alike: Sequence[DrawRequest]) -> Mapping[_Seeds, list[str | None]]:
    """Return the prompts that are drawn in one job: those with the same successive seeds.

    The runner loads a package once a job, and draws image i of a prompt from its seed + i.
    """
    seeds: dict[str | None, list[int]] = {}
    for request in alike:
        seeds.setdefault(request.prompt, []).append(request.seed)
    jobs: dict[_Seeds, list[str | None]] = {}
    for prompt, of_prompt in seeds.items():
        for first, count in _successive(sorted(of_prompt)):
            key = _Seeds(first=first, count=count, of_texts=prompt is not None)
            jobs.setdefault(key, []).append(prompt)
    return jobs


def _successive(seeds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the number of each run of successive seeds."""
    for _, places in groupby(range(len(seeds)), lambda place: seeds[place] - place):
        first, *others = places
        yield seeds[first], 1 + len(others)


def _request(settings: DrawRequest, prompts: Sequence[str | None], seeds: _Seeds) -> Request:
    texts = tuple(prompt for prompt in prompts if prompt is not None)
    return Request(
        prompts=texts or None,
        negative_prompt=settings.negative_prompt,
        steps=settings.steps,
        guidance=settings.guidance,
        guidance_start=settings.guidance_start,
        guidance_stop=settings.guidance_stop,
        cache_interval=settings.cache_interval,
        scheduler=settings.scheduler,
        seed=seeds.first,
        count=seeds.count,
        width=settings.width,
        height=settings.height,
        image=absolute(settings.image),
        mask=absolute(settings.mask),
        depth=absolute(settings.depth),
        strength=settings.strength,
        control=tuple(str(it.absolute()) for it in settings.controls) or None,
        image_guidance=settings.image_guidance,
        noise_level=settings.noise_level,
        class_label=settings.class_label,
        picture_prompt=absolute(settings.picture_prompt),
    )


def _pixels(image: ImageResult) -> Pixels:
    return rgb(drawn_pixels(image.path, image.sha256))
