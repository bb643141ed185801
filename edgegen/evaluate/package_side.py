"""The package's pictures: drawn here with the latents after each step, or on a device.

What computes them, and in which type, is known before the first is drawn.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from edgegen_runner.png import NOT_FINITE

from edgegen.core.errors import EdgegenError, RunnerError
from edgegen.core.package import GoldenCase, PackageManifest
from edgegen.core.progress import Progress
from edgegen.core.recipe import Arithmetic, ArithmeticWish
from edgegen.core.scratch import ScratchFolder
from edgegen.devices.chips import require_chip
from edgegen.devices.device import Device
from edgegen.drawer import DrawRequest, rgb
from edgegen.evaluate.references import Picture, Wanted
from edgegen.packaging.integrity import manifest_sha256
from edgegen.parity.runner_side import RunnerSide
from edgegen.parity.side import Draw
from edgegen.reference import golden
from edgegen.runner.arithmetic import fastest_arithmetic
from edgegen.runner.backend_choice import Wishes, backend_here, choose_backend
from edgegen.runner.drawers import DeviceDrawer
from edgegen.runner.remote import push_package

_AT_ONCE = 100
"""Pictures of a process of the runner: their folders are removed with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What computes a package's pictures.

    `arithmetic` is the type that was asked for, None where nobody asked, and `why` says how `auto`
    was decided.
    """

    runtime: str
    arithmetic: Arithmetic | None
    why: str = ""


def computed_by(
    package: Path,
    manifest: PackageManifest,
    device: Device | None,
    wish: ArithmeticWish | None,
    progress: Progress,
) -> Computed:
    """Return what computes a package here, or on a connected device.

    With `auto` the golden case is drawn in each type, on a device by the package that is pushed
    there. Raises what choosing a runtime and a type raises.
    """
    wishes = Wishes(arithmetic=None if wish == "auto" else wish)
    if device is None:
        backend = backend_here(manifest.runs_as, wishes)
    else:
        require_chip(device, manifest.compiled)
        backend = choose_backend(device, manifest.runs_as, wishes)
    chosen, why = backend.arithmetic, ""
    if wish == "auto":
        place = str(package.absolute())
        if device is not None:
            place = push_package(device, package, progress).path
        choice = fastest_arithmetic(
            place,
            manifest,
            manifest_sha256(package),
            backend,
            device=device,
            progress=progress,
        )
        chosen, why = choice.arithmetic, choice.reason
    return Computed(
        runtime=f"{backend.name}, {'local' if device is None else device.address}",
        arithmetic=chosen,
        why=why,
    )


def draw_here(
    package: Path,
    wanted: Sequence[Wanted],
    starts: Path,
    arithmetic: Arithmetic | None,
    lora: Path | None = None,
) -> Iterator[Picture]:
    """Yield the pictures that a package draws on this machine, as they are done.

    `lora` is a file of `lora_for`. A picture of values that aren't finite is a result. Raises what
    else the runner raises.
    """
    side = RunnerSide(package, arithmetic=arithmetic, lora=lora)
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        with ScratchFolder("evaluate") as scratch:
            tasks = [
                Draw(case=each.case, pictures=starts, place=scratch / str(index))
                for index, each in enumerate(part)
            ]
            for task in tasks:
                task.place.mkdir()
            with closing(side.work(tasks)) as outcomes:
                for each, task, outcome in zip(part, tasks, outcomes, strict=True):
                    steps = _read_steps(task.place) if each.with_steps else None
                    shutil.rmtree(task.place)
                    if isinstance(outcome, EdgegenError):
                        yield _not_finite(outcome, each.case, steps)
                    else:
                        assert outcome is not None  # a picture was asked for
                        yield Picture(pixels=rgb(outcome), steps=steps)


def draw_there(
    device: Device,
    package: Path,
    wanted: Sequence[Wanted],
    starts: Path,
    arithmetic: Arithmetic | None,
    progress: Progress,
    lora: Path | None = None,
) -> Iterator[Picture]:
    """Yield the pictures that a package draws on a connected device; it is pushed there first.

    So is `lora`, a file of `lora_for`. Latents stay there: megabytes a picture. Raises what the
    runner and the connection raise.
    """
    wishes = Wishes(arithmetic=arithmetic)
    pushed = push_package(device, package, progress)
    drawer = DeviceDrawer(device, pushed, wishes=wishes, lora=lora)
    for part in _alike(wanted):
        requests = [
            replace(golden.draw_request(each.case, starts), scheduler=None) for each in part
        ]
        yield from _drawn_there(drawer, part, requests)


def _drawn_there(
    drawer: DeviceDrawer, wanted: Sequence[Wanted], requests: Sequence[DrawRequest]
) -> Iterator[Picture]:
    try:
        for pixels in drawer.draw(requests):
            yield Picture(pixels=pixels)
    except RunnerError as error:
        if NOT_FINITE not in error.message:
            raise
        if len(requests) == 1:
            yield _not_finite(error, wanted[0].case, None)
            return
        for each, request in zip(wanted, requests, strict=True):  # one of them, or more
            yield from _drawn_there(drawer, [each], [request])


_JOBS_AT_ONCE = 8


def _alike(wanted: Sequence[Wanted]) -> Iterator[Sequence[Wanted]]:
    """Yield the pictures in parts that come here together."""
    for start in range(0, len(wanted), _JOBS_AT_ONCE):
        yield wanted[start : start + _JOBS_AT_ONCE]


def _read_steps(place: Path) -> golden.Array | None:
    """Read the latents after each call, (calls, channels, height, width); None where it ended."""
    count = len(list(place.glob("*.npy")))
    if count == 0 or not (place / f"{count - 1}.npy").is_file():
        return None
    arrays = [golden.read_array(place, f"{index}.npy") for index in range(count)]
    return np.concatenate(arrays)


def _not_finite(error: EdgegenError, case: GoldenCase, steps: golden.Array | None) -> Picture:
    if not isinstance(error, RunnerError) or NOT_FINITE not in error.message:
        raise error
    blank = np.zeros((case.height, case.width, 3), np.uint8)
    return Picture(pixels=blank, steps=steps, fault="not finite")
