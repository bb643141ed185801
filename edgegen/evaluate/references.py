"""The reference's pictures: drawn by torch once, and kept by what they were drawn with.

They lie in the cache as `references/<digits>/<key>.png`, with the latents after all steps as
`<key>.npy` beside those that have them. A key is a hash of all that a picture depends on: weights,
configurations, scheduler, request, and the versions of torch and its libraries. When they take more
than `MOST_BYTES`, those that were not used for the longest time are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from edgegen_runner.png import encode_png
from edgegen_runner.png_reader import read_png

from edgegen.core.codec import encode
from edgegen.core.errors import IntegrityError, ResourceError
from edgegen.core.evaluation import Fault
from edgegen.core.files import sha256_of, write_atomic
from edgegen.core.folders import cache_folder
from edgegen.core.model import PipelineSpec
from edgegen.core.package import GoldenCase
from edgegen.core.scratch import ScratchFolder
from edgegen.drawer import Pixels, rgb
from edgegen.reference import golden
from edgegen.reference.pictures import draw_pictures
from edgegen.reference.pictures_child import PictureJob

MOST_BYTES = 2 << 30
_FORMAT = 1
"""It is part of every key: another number makes all pictures anew."""
_LIBRARIES = ("torch", "diffusers", "transformers")
_CONFIG_SUFFIXES = (".json", ".txt", ".model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture, uint8 (height, width, 3), and the latents after each step where they were kept.

    With a `fault` it has values that aren't finite, and is black.
    """

    pixels: Pixels
    steps: golden.Array | None = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture that is wanted of the reference, with the latents after each step or without."""

    case: GoldenCase
    with_steps: bool


class References:
    """The pictures of one model; `weights_sha256` is the hash of its weights."""

    def __init__(
        self, spec: PipelineSpec, model: Path, weights_sha256: str, *, starts: Path
    ) -> None:
        self._spec = spec
        self._model = model
        self._weights_sha256 = weights_sha256
        self._starts = starts
        self._folder = cache_folder() / "references"

    def of(self, wanted: Sequence[Wanted], *, on_picture: Callable[[bool], None]) -> list[Picture]:
        """Return the pictures, from the cache or drawn now; `on_picture` hears which, one by one.

        Raises what `draw_pictures` raises.
        """
        found: dict[Wanted, Picture] = {}
        for each in dict.fromkeys(wanted):
            picture = self._read(each)
            if picture is not None:
                found[each] = picture
                on_picture(True)
        lacking = [each for each in dict.fromkeys(wanted) if each not in found]
        if lacking:
            found |= self._draw(lacking, on_picture)
            self._prune()
        return [found[each] for each in wanted]

    def _draw(
        self, wanted: Sequence[Wanted], on_picture: Callable[[bool], None]
    ) -> dict[Wanted, Picture]:
        made: dict[Wanted, Picture] = {}
        with ScratchFolder("reference") as scratch:
            jobs = {
                PictureJob(
                    case=each.case,
                    image=str(scratch / f"{index}.image.npy"),
                    trajectory=str(scratch / f"{index}.steps.npy") if each.with_steps else None,
                ): each
                for index, each in enumerate(wanted)
            }

            def keep(job: PictureJob) -> None:
                picture = _made(job)
                made[jobs[job]] = picture
                self._write(jobs[job], picture)
                on_picture(False)

            draw_pictures(
                self._spec, self._model, tuple(jobs), starts=self._starts, on_picture=keep
            )
        return made

    def _read(self, wanted: Wanted) -> Picture | None:
        path = self._place(wanted.case)
        steps = None
        try:
            pixels = rgb(read_png(path))
            if wanted.with_steps:
                steps = golden.read_array(path.parent, f"{path.stem}.npy")
        except (OSError, ValueError, IntegrityError):  # it isn't there, or not whole any more
            return None
        with contextlib.suppress(OSError):  # a cache that can only be read still answers
            os.utime(path)
        return Picture(pixels=pixels, steps=steps)

    def _write(self, wanted: Wanted, picture: Picture) -> None:
        """Keep a picture; without a cache it is drawn each time."""
        if picture.fault is not None:
            return
        path = self._place(wanted.case)
        with contextlib.suppress(ResourceError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if picture.steps is not None:
                temporary = path.with_name(f"{path.stem}-{os.getpid()}.part")
                golden.write_array(temporary.parent, temporary.name, picture.steps)
                temporary.replace(path.with_suffix(".npy"))
            write_atomic(path, encode_png(picture.pixels), setting="EDGEGEN_CACHE_DIR")

    def _place(self, case: GoldenCase) -> Path:
        facts = {**self._identity, "case": encode(replace(case, folder=""))}
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.png"

    @cached_property
    def _identity(self) -> dict[str, object]:
        """Return what all pictures of the model depend on."""
        spec = self._spec
        return {
            "format": _FORMAT,
            "weights": self._weights_sha256,
            "configs": _configs_sha256(self._model),
            "variants": {it.folder: it.variant for it in spec.components},
            "family": spec.family,
            "pipeline": spec.pipeline_class,
            "scheduler": encode(spec.scheduler),
            "generation": encode(
                replace(  # the rest is in each case
                    spec.generation,
                    steps=1,
                    guidance=1.0,
                    inpaint_guidance=None,
                    guidance_start=0.0,
                    guidance_stop=1.0,
                    cache_interval=1,
                    decode_tile=None,
                    width=1,
                    height=1,
                )
            ),
            "libraries": {name: _version(name) for name in _LIBRARIES},
        }

    def _prune(self) -> None:
        """Remove what was not used for the longest time, until the rest is small enough."""
        with contextlib.suppress(OSError):
            groups: dict[Path, list[Path]] = {}
            for path in self._folder.glob("*/*"):
                picture = path.with_suffix(".png")
                groups.setdefault(picture if picture.exists() else path, []).append(path)
            sizes = {main: sum(map(_size_bytes, files)) for main, files in groups.items()}
            total = sum(sizes.values())
            for main in sorted(groups, key=lambda it: it.stat().st_mtime):
                if total <= MOST_BYTES:
                    break
                for path in groups[main]:
                    path.unlink(missing_ok=True)
                total -= sizes[main]


def _made(job: PictureJob) -> Picture:
    """Read what torch drew, and take its files away."""
    path = Path(job.image)
    values = golden.read_array(path.parent, path.name)
    path.unlink()
    steps = None
    if job.trajectory is not None:
        place = Path(job.trajectory)
        steps = golden.read_array(place.parent, place.name)
        place.unlink()
    if not np.isfinite(values).all():
        blank = np.zeros((*values.shape[:2], 3), np.uint8)
        return Picture(pixels=blank, steps=steps, fault="not finite")
    levels = np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)
    return Picture(pixels=rgb(levels), steps=steps)


def _configs_sha256(model: Path) -> str:
    """Return a hash over the names and bytes of a pipeline's configurations and tokenizers."""
    digest = hashlib.sha256()
    for path in sorted(model.rglob("*")):
        if path.suffix in _CONFIG_SUFFIXES and path.is_file():
            digest.update(f"{path.relative_to(model).as_posix()} {sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:  # then nothing can be drawn, and what is kept is of none
        return None


def _size_bytes(path: Path) -> int:
    return path.stat().st_size
